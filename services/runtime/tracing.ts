/**
 * Spans, by OpenTelemetry's SDK. telemetry.ts loads this file only where spans are sent.
 *
 * Sampling is decided here, before the SDK is called: the SDK would create ids and a span for each of tens of
 * thousands of bids a second and drop nearly all of them. So `begin` returns null for most work, and the SDK
 * records every span that it creates. There is no active context: spans are passed as arguments.
 */
import { hostname } from "node:os";
import {
  type Attributes,
  type Context,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Tracer,
} from "@opentelemetry/api";
import { ExportResultCode, parseTraceParent } from "@opentelemetry/core";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { resourceFromAttributes } from "@opentelemetry/resources";
import {
  AlwaysOnSampler,
  BatchSpanProcessor,
  type SpanExporter,
  TracerProvider,
} from "@opentelemetry/sdk-trace";
import { TokenBucket } from "./token-bucket.ts";
import { type Logger, SampledLog, traceparentOf } from "./log.ts";

export type { Attributes, Span };

/** Traces a second that callers may request by their sampled flag; beyond it the ratio decides. */
const REQUESTED_PER_SECOND = 100;
/** Spans a second of work that was not sampled and turned out slow or failed. */
const AFTERWARDS_PER_SECOND = 50;

/** Spans that wait to be sent; more are dropped. */
const QUEUE_SPANS = 4_096;
const BATCH_SPANS = 512;
const SEND_EVERY_MS = 1_000;
const EXPORT_TIMEOUT_MS = 5_000;
const STOP_MS = 1_000;
/** Links of one span: as many as a batch holds bids. */
const LINKS_MAX = 256;

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;
export type Kind = keyof typeof KINDS;

/** The value of `error.type`: the name of a class of errors, never a text with values in it. */
export type Failure = Error | string | null;

export class Tracing {
  /** Work that takes longer is slow. */
  readonly slowMs: number;
  readonly #tracer: Tracer;
  readonly #ratio: number;
  readonly #requested = new TokenBucket(REQUESTED_PER_SECOND, REQUESTED_PER_SECOND);
  readonly #afterwards = new TokenBucket(AFTERWARDS_PER_SECOND, AFTERWARDS_PER_SECOND);

  constructor(tracer: Tracer, ratio: number, slowMs: number) {
    this.#tracer = tracer;
    this.#ratio = ratio;
    this.slowMs = slowMs;
  }

  /**
   * Begins the server span of a request. Null for most requests: those that are not sampled.
   * @param traceparent W3C header of the caller; a malformed one counts as none
   */
  begin(name: string, traceparent: string | undefined, attributes: Attributes): Span | null {
    const caller = remoteContext(traceparent);
    const isRequested = caller !== null && isSampled(caller) && this.#requested.take();
    if (caller !== null && !isSampled(caller)) return null;
    if (!isRequested && Math.random() >= this.#ratio) return null;
    return this.#start(name, "server", caller, attributes);
  }

  /** Records a span of work that was not sampled, and was slow or failed. */
  afterwards(
    name: string,
    traceparent: string | undefined,
    tookMs: number,
    attributes: Attributes,
    failure: Failure,
  ): void {
    if (!this.#afterwards.take()) return;
    const caller = remoteContext(traceparent);
    const startTime = Date.now() - tookMs;
    this.finish(this.#start(name, "server", caller, attributes, { startTime }), {}, failure);
  }

  /** Begins a span that continues the trace of a message's sender. Null if the sender was not sampled. */
  follow(
    traceparent: string | null,
    name: string,
    kind: Kind,
    attributes: Attributes,
  ): Span | null {
    const sender = remoteContext(traceparent);
    if (sender === null || !isSampled(sender)) return null;
    return this.#start(name, kind, sender, attributes);
  }

  /**
   * Begins the client span of one call that several sampled spans share: a child of the first, linked with
   * each of the others, and they with it.
   * @param served at least one
   */
  shared(name: string, served: readonly Span[], attributes: Attributes): SharedCall {
    const [first, ...others] = served as [Span, ...Span[]];
    const links = others.map((span) => ({ context: span.spanContext() }));
    const span = this.#start(name, "client", first.spanContext(), attributes, { links });
    for (const other of others) other.addLink({ context: span.spanContext() });
    return {
      traceparent: traceparentOf(span),
      end: (failure) => this.finish(span, {}, failure),
    };
  }

  finish(span: Span, attributes: Attributes, failure: Failure): void {
    span.setAttributes(attributes);
    if (failure !== null) {
      span.setAttribute("error.type", typeof failure === "string" ? failure : failure.name);
      span.setStatus({ code: SpanStatusCode.ERROR });
    }
    span.end();
  }

  #start(
    name: string,
    kind: Kind,
    parent: SpanContext | null,
    attributes: Attributes,
    more: { startTime?: number; links?: { context: SpanContext }[] } = {},
  ): Span {
    const options = { kind: KINDS[kind], attributes, ...more };
    return this.#tracer.startSpan(name, options, contextOf(parent));
  }
}

export interface SharedCall {
  /** For whoever continues the trace. */
  readonly traceparent: string;
  end(failure: Failure): void;
}

function contextOf(parent: SpanContext | null): Context {
  return parent === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
}

/** Null for no header, and for a malformed one. */
function remoteContext(traceparent: string | null | undefined): SpanContext | null {
  const parsed = traceparent ? parseTraceParent(traceparent) : null;
  return parsed && { ...parsed, isRemote: true };
}

function isSampled({ traceFlags }: SpanContext): boolean {
  return (traceFlags & TraceFlags.SAMPLED) !== 0;
}

interface TracingOptions {
  readonly endpoint: string;
  readonly ratio: number;
  readonly slowMs: number;
  readonly serviceName: string;
  readonly attributes: Readonly<Record<string, string>>;
}

interface StartedTracing {
  readonly tracing: Tracing;
  /** Sends the spans that are left, for STOP_MS at most. */
  stop(): Promise<void>;
}

export function startTracing(options: TracingOptions, log: Logger): StartedTracing {
  const { endpoint, ratio, slowMs, serviceName, attributes } = options;
  const url = `${endpoint.replace(/\/$/, "")}/v1/traces`;
  const exporter = new OTLPTraceExporter({ url, timeoutMillis: EXPORT_TIMEOUT_MS });
  const provider = new TracerProvider({
    sampler: new AlwaysOnSampler(),
    spanLimits: { linkCountLimit: LINKS_MAX },
    resource: resourceFromAttributes({
      "service.name": serviceName,
      "service.namespace": "gavel",
      "service.instance.id": `${hostname()}-${process.pid}`,
      ...attributes,
    }),
    spanProcessors: [
      new BatchSpanProcessor({
        exporter: loggingFailures(exporter, new SampledLog(log, 1)),
        maxQueueSize: QUEUE_SPANS,
        maxExportBatchSize: BATCH_SPANS,
        scheduledDelayMillis: SEND_EVERY_MS,
        exportTimeoutMillis: 2 * EXPORT_TIMEOUT_MS,
      }),
    ],
  });
  const stop = async (): Promise<void> => {
    await provider.forceFlush({ timeoutMillis: STOP_MS }).catch(() => {}); // Spans may be lost.
    void provider.shutdown().catch(() => {});
  };
  return { tracing: new Tracing(provider.getTracer("gavel"), ratio, slowMs), stop };
}

/** An unreachable collector costs spans and nothing else: one line a second. */
function loggingFailures(exporter: OTLPTraceExporter, log: SampledLog): SpanExporter {
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.code !== ExportResultCode.SUCCESS) {
          log.warn({ err: result.error, spans: spans.length }, "span export failed");
        }
        done(result);
      }),
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
  };
}
