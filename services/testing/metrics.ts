/** A metric of a process. `label` is a part of the wanted line. NaN if there is none. */
export async function readMetric(internalUrl: string, name: string, label = ""): Promise<number> {
  const text = await (await fetch(`${internalUrl}/metrics`)).text();
  const isWanted = (line: string) => line.startsWith(`${name}{`) && line.includes(label);
  const line = text.split("\n").find(isWanted);
  return line === undefined ? NaN : Number(line.slice(line.lastIndexOf(" ")));
}
