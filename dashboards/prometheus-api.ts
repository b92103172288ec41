/** Queries to the HTTP API of Prometheus. */

export interface Sample {
  readonly metric: Readonly<Record<string, string>>;
  readonly value: number;
}

export interface Series {
  readonly metric: Readonly<Record<string, string>>;
  readonly points: readonly (readonly [seconds: number, value: number])[];
}

const TIMEOUT_MS = 10_000;

async function request<T>(
  url: string,
  path: string,
  parameters: Record<string, string>,
): Promise<T[]> {
  const response = await fetch(`${url}/api/v1/${path}`, {
    method: "POST",
    body: new URLSearchParams(parameters),
    signal: AbortSignal.timeout(TIMEOUT_MS),
  });
  const { status, error, data } = (await response.json()) as {
    status: string;
    error?: string;
    data: { result: T[] };
  };
  if (status !== "success") throw new Error(`${parameters["query"]}: ${error}`);
  return data.result;
}

/** The present value of an expression; NaN counts as a value. @throws Error with the message of Prometheus */
export async function queryNow(url: string, query: string): Promise<Sample[]> {
  const found = await request<{ metric: Sample["metric"]; value: [number, string] }>(url, "query", {
    query,
  });
  return found.map(({ metric, value }) => ({ metric, value: Number(value[1]) }));
}

/** The values of an expression over time, in Unix seconds. @throws Error with the message of Prometheus */
export async function queryRange(
  url: string,
  query: string,
  fromSeconds: number,
  toSeconds: number,
  stepSeconds: number,
): Promise<Series[]> {
  const range = { start: `${fromSeconds}`, end: `${toSeconds}`, step: `${stepSeconds}` };
  const found = await request<{ metric: Series["metric"]; values: [number, string][] }>(
    url,
    "query_range",
    { query, ...range },
  );
  return found.map(({ metric, values }) => ({
    metric,
    points: values.map(([seconds, value]) => [seconds, Number(value)] as const),
  }));
}
