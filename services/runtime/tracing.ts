/**
 * Spans, by OpenTelemetry's SDK. Loaded by telemetry.ts, and only where spans are sent.
 *
 * Whether work is traced is decided here, before the SDK is asked: it would make ids and a span for each of
 * tens of thousands of bids a second to throw nearly all of them away. So `begin` gives null for most, and
 * what is asked of the SDK it records. No active context is kept either: spans are handed on by hand.
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
import { Allowance } from "./allowance.ts";
import { type Logger, SampledLog, traceparentOf } from "./log.ts";
import type { Telemetry } from "./telemetry.ts";

export type { Attributes, Span };

/** Traces a second that callers may ask for by their sampled flag; beyond it the ratio decides. */
const ASKED_PER_SECOND = 100;
/** Spans a second of work that turned out slow or failed: when all of it does, some tell it. */
const AFTERWARDS_PER_SECOND = 50;

/** Spans that wait to be sent; more are dropped. */
const QUEUE_SPANS = 4_096;
const BATCH_SPANS = 512;
const SEND_EVERY_MS = 1_000;
const EXPORT_TIMEOUT_MS = 5_000;
const STOP_MS = 1_000;
/** Links of one span: a call may be shared by as many traced bids as a batch holds. */
const LINKS_MAX = 256;

const KINDS = {
  server: SpanKind.SERVER,
  client: SpanKind.CLIENT,
  producer: SpanKind.PRODUCER,
  consumer: SpanKind.CONSUMER,
} as const;
export type Kind = keyof typeof KINDS;

/** What went wrong, as `error.type` names it: a class of errors, never a text with values in it. */
export type Failure = Error | string | null;

export class Tracing {
  /** Above it work is slow. */
  readonly slowMs: number;
  readonly #tracer: Tracer;
  readonly #ratio: number;
  readonly #asked = new Allowance(ASKED_PER_SECOND);
  readonly #afterwards = new Allowance(AFTERWARDS_PER_SECOND);

  constructor(tracer: Tracer, ratio: number, slowMs: number) {
    this.#tracer = tracer;
    this.#ratio = ratio;
    this.slowMs = slowMs;
  }

  /**
   * Work that somebody asked for, and its trace if it is chosen to be traced: null for most.
   * @param traceparent of the caller, in W3C's form; one that is not counts as none
   */
  begin(name: string, traceparent: string | undefined, attributes: Attributes): Span | null {
    const caller = remote(traceparent);
    const asks = caller !== null && isSampled(caller) && this.#asked.take();
    if (caller !== null && !isSampled(caller)) return null;
    if (!asks && Math.random() >= this.#ratio) return null;
    return this.#start(name, "server", caller, attributes);
  }

  /** Leaves a span of work that was not chosen, and was slow or failed. */
  afterwards(
    name: string,
    traceparent: string | undefined,
    tookMs: number,
    attributes: Attributes,
    failure: Failure,
  ): void {
    if (!this.#afterwards.take()) return;
    const caller = remote(traceparent);
    const startTime = Date.now() - tookMs;
    this.finish(this.#start(name, "server", caller, attributes, { startTime }), {}, failure);
  }

  /** Work that goes on where a message was sent. Null where the message's sender was not traced. */
  follow(
    traceparent: string | null,
    name: string,
    kind: Kind,
    attributes: Attributes,
  ): Span | null {
    const sender = remote(traceparent);
    if (sender === null || !isSampled(sender)) return null;
    return this.#start(name, kind, sender, attributes);
  }

  /**
   * One call that serves several pieces of traced work: a child of the first, linked with each of the
   * others, and they with it.
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
  /** For whoever goes on from it. */
  readonly traceparent: string;
  end(failure: Failure): void;
}

function contextOf(parent: SpanContext | null): Context {
  return parent === null ? ROOT_CONTEXT : trace.setSpanContext(ROOT_CONTEXT, parent);
}

/** Null for none, and for a text that is not in W3C's form. */
function remote(traceparent: string | null | undefined): SpanContext | null {
  const parsed = traceparent ? parseTraceParent(traceparent) : null;
  return parsed && { ...parsed, isRemote: true };
}

function isSampled({ traceFlags }: SpanContext): boolean {
  return (traceFlags & TraceFlags.SAMPLED) !== 0;
}

export interface TracingOptions {
  readonly endpoint: string;
  readonly ratio: number;
  readonly slowMs: number;
  readonly serviceName: string;
  readonly attributes: Readonly<Record<string, string>>;
}

export function startTracing(options: TracingOptions, log: Logger): Telemetry {
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
        exporter: telling(exporter, new SampledLog(log, 1)),
        maxQueueSize: QUEUE_SPANS,
        maxExportBatchSize: BATCH_SPANS,
        scheduledDelayMillis: SEND_EVERY_MS,
        exportTimeoutMillis: 2 * EXPORT_TIMEOUT_MS,
      }),
    ],
  });
  const stop = async (): Promise<void> => {
    await provider.forceFlush({ timeoutMillis: STOP_MS }).catch(() => {}); // What is left is lost.
    void provider.shutdown().catch(() => {});
  };
  return { tracing: new Tracing(provider.getTracer("gavel"), ratio, slowMs), stop };
}

/** A collector that is away costs spans and nothing else; it is told, seldom. */
function telling(exporter: OTLPTraceExporter, log: SampledLog): SpanExporter {
  return {
    export: (spans, done) =>
      exporter.export(spans, (result) => {
        if (result.code !== ExportResultCode.SUCCESS) {
          log.warn({ err: result.error, spans: spans.length }, "spans could not be sent");
        }
        done(result);
      }),
    forceFlush: () => exporter.forceFlush(),
    shutdown: () => exporter.shutdown(),
  };
}
