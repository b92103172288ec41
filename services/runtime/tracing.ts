/**
 * Spans, by OpenTelemetry's SDK for Node, which reads every OTEL_* variable itself. telemetry.ts loads this file
 * only where spans are sent.
 *
 * Without OTEL_TRACES_SAMPLER, sampling is decided here, before the SDK is called: the SDK would create ids and a
 * span for each of tens of thousands of bids a second and drop nearly all of them. So `begin` returns null for most
 * work, and the SDK records every span that it creates. There is no active context: spans are passed as arguments.
 */
import {
  type Attributes,
  type Context,
  diag,
  DiagLogLevel,
  ROOT_CONTEXT,
  type Span,
  type SpanContext,
  SpanKind,
  SpanStatusCode,
  trace,
  TraceFlags,
  type Tracer,
} from "@opentelemetry/api";
import { parseTraceParent, setGlobalErrorHandler } from "@opentelemetry/core";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import { NodeSDK } from "@opentelemetry/sdk-node";
import { AlwaysOnSampler } from "@opentelemetry/sdk-trace";
import { pause } from "./lifecycle.ts";
import { TokenBucket } from "./token-bucket.ts";
import { type Logger, SampledLog, traceparentOf } from "./log.ts";

export type { Attributes, Span };

/** Traces a second that callers may request by their sampled flag; beyond it the ratio decides. */
const REQUESTED_PER_SECOND = 100;
/** Spans a second of work that was not sampled and turned out slow or failed. */
const AFTERWARDS_PER_SECOND = 50;

const STOP_MS = 1_000;

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
  readonly #ratio: number | null;
  readonly #requested = new TokenBucket(REQUESTED_PER_SECOND, REQUESTED_PER_SECOND);
  readonly #afterwards = new TokenBucket(AFTERWARDS_PER_SECOND, AFTERWARDS_PER_SECOND);

  /** @param ratio null: the sampler of the SDK decides */
  constructor(tracer: Tracer, ratio: number | null, slowMs: number) {
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
    if (this.#ratio !== null && !this.#isChosen(caller, this.#ratio)) return null;
    return recorded(this.#start(name, "server", caller, attributes));
  }

  #isChosen(caller: SpanContext | null, ratio: number): boolean {
    if (caller !== null && !isSampled(caller)) return false;
    return (caller !== null && this.#requested.take()) || Math.random() < ratio;
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
    return recorded(this.#start(name, kind, sender, attributes));
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

/** Null for a span that the SDK's sampler left out, and where OTEL_TRACES_EXPORTER names nothing. */
function recorded(span: Span): Span | null {
  return span.isRecording() ? span : null;
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
  /** Share of traces that begin here; null: OTEL_TRACES_SAMPLER decides. */
  readonly ratio: number | null;
  readonly slowMs: number;
  /** Links of one span. */
  readonly linksMax: number;
  /** OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES win over these. */
  readonly resource: Readonly<Record<string, string>>;
}

interface StartedTracing {
  readonly tracing: Tracing;
  /** Sends the spans that are left, for STOP_MS at most. */
  stop(): Promise<void>;
}

export function startTracing(options: TracingOptions, log: Logger): StartedTracing {
  const { ratio, slowMs, linksMax, resource } = options;
  reportFailures(new SampledLog(log, 1));
  const sdk = new NodeSDK({
    resource: defaultResource().merge(resourceFromAttributes(resource)),
    spanLimits: { linkCountLimit: linksMax },
    ...(ratio === null ? {} : { sampler: new AlwaysOnSampler() }),
    // Metrics are served to Prometheus, and logs are written to standard output: the SDK sends spans only.
    metricReaders: [],
    logRecordProcessors: [],
  });
  sdk.start();
  const stop = async (): Promise<void> => {
    const sent = sdk.shutdown().catch(() => {}); // Spans may be lost.
    await Promise.race([sent, pause(STOP_MS)]);
  };
  return { tracing: new Tracing(trace.getTracer("gavel"), ratio, slowMs), stop };
}

/** An unreachable collector costs spans and nothing else: one line a second. */
function reportFailures(log: SampledLog): void {
  setGlobalErrorHandler((err) => {
    log.warn({ err: typeof err === "string" ? new Error(err) : err }, "span export failed");
  });
  const warn = (detail: string) => log.warn({ detail }, "OpenTelemetry SDK warning");
  const ignore = () => {};
  diag.setLogger(
    { error: warn, warn, info: ignore, debug: ignore, verbose: ignore },
    DiagLogLevel.WARN,
  );
}
