/** Formats rows as a text table. */

const CELL_MAX_CHARACTERS = 200;

export function tableOf(columns: readonly string[], rows: readonly (readonly unknown[])[]): string {
  const cells = rows.map((row) => row.map(textOf));
  const widths = columns.map((name, i) => {
    return Math.max(name.length, ...cells.map((row) => row[i]!.length));
  });
  const isNumeric = columns.map((_, i) =>
    rows.every((row) => row[i] === null || /^-?\d+(\.\d+)?$/.test(textOf(row[i]))),
  );
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (isNumeric[i] ? cell.padStart(widths[i]!) : cell.padEnd(widths[i]!)))
      .join("  ")
      .trimEnd();
  const rule = widths.map((width) => "-".repeat(width));
  return [line(columns), line(rule), ...cells.map(line)].join("\n");
}

function textOf(value: unknown): string {
  if (value === null || value === undefined) return "";
  const text =
    value instanceof Date
      ? value.toISOString()
      : typeof value === "object"
        ? JSON.stringify(value)
        : String(value as string | number | boolean);
  const visible = text.replace(/\p{Cc}/gu, (char) => JSON.stringify(char).slice(1, -1));
  return visible.length > CELL_MAX_CHARACTERS
    ? `${visible.slice(0, CELL_MAX_CHARACTERS - 1)}…`
    : visible;
}
