/** Figures of a benchmark: quantiles, and rows of a table. */

export function quantile(values: readonly number[], q: number): number {
  const sorted = values.toSorted((a, b) => a - b);
  return sorted[Math.floor(sorted.length * q)] ?? NaN;
}

export function median(values: readonly number[]): number {
  return quantile(values, 0.5);
}

/** With separators of thousands. */
export function whole(value: number): string {
  return Math.round(value).toLocaleString("en");
}

/** Formats a name, and cells aligned to the right. */
export function rowFormat(nameWidth: number, cellWidth: number) {
  return (name: string, ...cells: string[]): string =>
    name.padEnd(nameWidth) + cells.map((cell) => cell.padStart(cellWidth)).join("");
}
