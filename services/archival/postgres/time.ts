/** SQL for a time column as whole milliseconds since 1970. */
export function epochMs(column: string): string {
  return `round(extract(epoch from ${column}) * 1000)::bigint`;
}
