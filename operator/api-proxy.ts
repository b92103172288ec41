/** Pods asked through the API server: how an operator outside the cluster reaches them. */
import type { ApiConnection, ApiRequest, Lane } from "./api-connection.ts";
import { ApiError, classifyAnswer } from "./api-error.ts";

export interface ProxyTarget {
  readonly namespace: string;
  /** A service or a pod, and the port's number. */
  readonly service?: string;
  readonly pod?: string;
  readonly port: number;
}

export interface ProxyAnswer {
  readonly status: number;
  /** Parsed where it is JSON, else its text. */
  readonly body: unknown;
}

export interface ProxyOptions {
  /** The API server takes `authorization` for itself and passes it on to nobody. */
  readonly headers?: Readonly<Record<string, string>>;
  readonly deadlineMs?: number;
}

/** The target's own answer, whatever its status. @throws ApiError where the API server refused, or did not reach it */
export async function askThroughProxy(
  connection: ApiConnection,
  lane: Lane,
  to: ProxyTarget,
  { path, ...asked }: ApiRequest,
): Promise<ProxyAnswer> {
  const request = { ...asked, path: proxyPath(to, path) };
  const { status, text, retryAfter } = await connection.exchange(lane, request);
  const body = parseJson(text);
  // The API server's own refusals are Status objects; what it reached answers in its own way.
  if (status >= 400 && (body as { kind?: unknown } | null)?.kind === "Status") {
    const name = `${request.method} ${request.path}`;
    throw new ApiError(name, classifyAnswer(status, text, retryAfter));
  }
  return { status, body };
}

function proxyPath({ namespace, service, pod, port }: ProxyTarget, path: string): string {
  const target = service === undefined ? `pods/${pod}:${port}` : `services/${service}:${port}`;
  return `/api/v1/namespaces/${namespace}/${target}/proxy${path}`;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return text;
  }
}
