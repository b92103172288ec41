/** Prometheus's HTTP API. */

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly points: readonly (readonly [seconds: number, value: number])[];
}

const ASK_MS = 10_000;

async function ask<T>(url: string, path: string, words: Record<string, string>): Promise<T[]> {
  const answer = await fetch(`${url}/api/v1/${path}`, {
    method: "POST",
    body: new URLSearchParams(words),
    signal: AbortSignal.timeout(ASK_MS),
  });
  const { status, error, data } = (await answer.json()) as {
    status: string;
    error?: string;
    data: { result: T[] };
  };
  if (status !== "success") throw new Error(`${words["query"]}: ${error}`);
  return data.result;
}

/** What an expression comes to now; "NaN" is a value. @throws Error with Prometheus's words */
export async function queryNow(url: string, query: string): Promise<Sample[]> {
  const found = await ask<{ metric: Sample["metric"]; value: [number, string] }>(url, "query", {
    query,
  });
  return found.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
}

/** What it came to. Times in Unix seconds. @throws Error with Prometheus's words */
export async function queryRange(
  url: string,
  query: string,
  fromSeconds: number,
  toSeconds: number,
  stepSeconds: number,
): Promise<Series[]> {
  const words = { start: `${fromSeconds}`, end: `${toSeconds}`, step: `${stepSeconds}` };
  const found = await ask<{ metric: Series["metric"]; values: [number, string][] }>(
    url,
    "query_range",
    { query, ...words },
  );
  return found.map(({ metric, values }) => ({
    metric,
    points: values.map(([seconds, value]) => [seconds, Number(value)] as const),
  }));
}
