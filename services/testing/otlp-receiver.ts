/** Takes spans over OTLP/HTTP, as JSON, from our exporters or from a real collector that passes them on. */
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gunzipSync } from "node:zlib";
import { buffer } from "node:stream/consumers";
import { afterFile } from "./after-file.ts";

export interface ReceivedSpan {
  readonly traceId: string;
  readonly spanId: string;
  /** Empty for the first of a trace. */
  readonly parentSpanId: string;
  readonly name: string;
  readonly kind: "internal" | "server" | "client" | "producer" | "consumer";
  readonly startMs: number;
  readonly endMs: number;
  readonly failed: boolean;
  readonly attributes: Readonly<Record<string, unknown>>;
  readonly links: readonly { readonly traceId: string; readonly spanId: string }[];
  readonly resource: Readonly<Record<string, unknown>>;
}

export interface OtlpReceiver {
  /** For OTEL_EXPORTER_OTLP_ENDPOINT. */
  readonly url: string;
  readonly spans: readonly ReceivedSpan[];
  /** What came that was no OTLP: must stay empty. */
  readonly wrong: readonly string[];
}

interface Any {
  readonly stringValue?: string;
  readonly intValue?: string | number;
  readonly doubleValue?: number;
  readonly boolValue?: boolean;
  readonly arrayValue?: { readonly values?: readonly Any[] };
}
type Attributes = readonly { readonly key: string; readonly value: Any }[];

interface Span {
  readonly traceId: string;
  readonly spanId: string;
  readonly parentSpanId?: string;
  readonly name: string;
  readonly kind: number;
  readonly startTimeUnixNano: string;
  readonly endTimeUnixNano: string;
  readonly status?: { readonly code?: number };
  readonly attributes?: Attributes;
  readonly links?: readonly { readonly traceId: string; readonly spanId: string }[];
}

interface Request {
  readonly resourceSpans?: readonly {
    readonly resource?: { readonly attributes?: Attributes };
    readonly scopeSpans?: readonly { readonly spans?: readonly Span[] }[];
  }[];
}

const KINDS = ["internal", "internal", "server", "client", "producer", "consumer"] as const;

/** Listens on a port of its own until the test file is done. */
export async function startOtlpReceiver(): Promise<OtlpReceiver> {
  const spans: ReceivedSpan[] = [];
  const wrong: string[] = [];
  const server = createServer(async (request, response) => {
    const body = await buffer(request);
    try {
      const isZipped = request.headers["content-encoding"] === "gzip";
      const json = (isZipped ? gunzipSync(body) : body).toString("utf8");
      if (request.url !== "/v1/traces") throw new Error(`sent to ${request.url}`);
      spans.push(...spansOf(JSON.parse(json) as Request));
    } catch (error) {
      wrong.push(String(error));
    }
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  afterFile(() => {
    server.closeAllConnections();
    server.close();
  });
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, spans, wrong };
}

function spansOf({ resourceSpans = [] }: Request): ReceivedSpan[] {
  return resourceSpans.flatMap(({ resource, scopeSpans = [] }) =>
    scopeSpans.flatMap(({ spans = [] }) =>
      spans.map((span) => ({
        traceId: span.traceId,
        spanId: span.spanId,
        parentSpanId: span.parentSpanId ?? "",
        name: span.name,
        kind: KINDS[span.kind] ?? "internal",
        startMs: Number(span.startTimeUnixNano) / 1e6,
        endMs: Number(span.endTimeUnixNano) / 1e6,
        failed: span.status?.code === 2,
        attributes: valuesOf(span.attributes),
        links: (span.links ?? []).map(({ traceId, spanId }) => ({ traceId, spanId })),
        resource: valuesOf(resource?.attributes),
      })),
    ),
  );
}

function valuesOf(attributes: Attributes = []): Record<string, unknown> {
  return Object.fromEntries(attributes.map(({ key, value }) => [key, valueOf(value)]));
}

function valueOf(value: Any): unknown {
  if (value.stringValue !== undefined) return value.stringValue;
  if (value.intValue !== undefined) return Number(value.intValue);
  if (value.arrayValue !== undefined) return (value.arrayValue.values ?? []).map(valueOf);
  return value.doubleValue ?? value.boolValue ?? null;
}
