/**
 * Tracing, configured by the environment. Without an endpoint OpenTelemetry's SDK is not loaded, and `tracing`
 * is null.
 */
import Type from "typebox";
import type { Logger } from "./log.ts";
import type { Tracing } from "./tracing.ts";

/** Variables of every tier. OTEL_* are OpenTelemetry's own names. */
export const TelemetryEnv = {
  OTEL_EXPORTER_OTLP_ENDPOINT: Type.Optional(
    Type.String({
      description:
        "URL of an OpenTelemetry collector (OTLP over HTTP); spans go to /v1/traces below it. Without it nothing is traced. Further OTEL_EXPORTER_OTLP_* (headers, certificates, time-out) are read by OpenTelemetry itself.",
      pattern: "^https?://",
    }),
  ),
};

/** Further variables of the tiers where traces begin. */
export const SamplingEnv = {
  OTEL_TRACES_SAMPLER_ARG: Type.Number({
    description:
      "Share of bids that are traced. A caller who sends a traceparent decides instead: by its sampled flag, up to 100 times a second. Slow and failed bids leave a span in any case.",
    minimum: 0,
    maximum: 1,
    default: 0.01,
  }),
  TRACE_SLOW_MS: Type.Integer({
    description:
      "A bid that takes longer leaves a span although it was not sampled, as one does that fails: up to 50 a second, in ms.",
    minimum: 1,
    maximum: 60_000,
    default: 100,
  }),
};

interface TelemetrySettings {
  readonly OTEL_EXPORTER_OTLP_ENDPOINT?: string;
  /** Without it no trace begins here; traces of callers are continued. */
  readonly OTEL_TRACES_SAMPLER_ARG?: number;
  readonly TRACE_SLOW_MS?: number;
}

interface Telemetry {
  /** Null when nothing is traced. */
  readonly tracing: Tracing | null;
  /** Sends the spans that are left, for a second at most. */
  stop(): Promise<void>;
}

const OFF: Telemetry = { tracing: null, stop: () => Promise.resolve() };

/**
 * @param serviceName `service.name` of the process
 * @param attributes further resource attributes of the process
 */
export async function startTelemetry(
  settings: TelemetrySettings,
  serviceName: string,
  attributes: Readonly<Record<string, string>>,
  log: Logger,
): Promise<Telemetry> {
  const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = settings;
  if (endpoint === undefined) return OFF;
  const { startTracing } = await import("./tracing.ts");
  const { OTEL_TRACES_SAMPLER_ARG: ratio = 0, TRACE_SLOW_MS: slowMs = Infinity } = settings;
  const started = startTracing({ endpoint, ratio, slowMs, serviceName, attributes }, log);
  log.info({ ratio, slowMs }, "tracing started");
  return started;
}
