/**
 * Tracing, configured by the environment. Without an endpoint OpenTelemetry's SDK is not loaded, and `tracing`
 * is null.
 */
import Type from "typebox";
import type { Logger } from "./log.ts";
import type { Tracing } from "./tracing.ts";

/** Share of bids that are traced by default. */
const DEFAULT_SHARE = 0.01;

const SAMPLERS: readonly string[] = [
  "always_on",
  "always_off",
  "traceidratio",
  "parentbased_always_on",
  "parentbased_always_off",
  "parentbased_traceidratio",
];

const Endpoint = (description: string) => Type.Optional(Type.String({ description }));

/**
 * Variables of every tier. OTEL_* are OpenTelemetry's own names; listed are those that Gavel reads, too. The SDK
 * reads all others itself. An invalid value is logged as a warning: tracing never keeps a tier from starting.
 */
export const TelemetryEnv = {
  OTEL_EXPORTER_OTLP_ENDPOINT: Endpoint(
    "URL of an OpenTelemetry collector (OTLP over HTTP); spans go to /v1/traces below it. Without it (or the next one) nothing is traced. Every other OTEL_* variable of OpenTelemetry's SDK for Node applies, too: OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES, OTEL_EXPORTER_OTLP_* (headers, certificates, time-out, protocol), OTEL_BSP_*, OTEL_LOG_LEVEL …",
  ),
  OTEL_EXPORTER_OTLP_TRACES_ENDPOINT: Endpoint("The complete URL to which spans go."),
  OTEL_SDK_DISABLED: Type.Optional(
    Type.String({ description: "true: nothing is traced. Any other value has no effect." }),
  ),
  OTEL_TRACES_SAMPLER: Type.Optional(
    Type.String({
      description:
        "A sampler of OpenTelemetry (always_on, always_off, traceidratio, or one of these prefixed with parentbased_; any other value is ignored with a warning), which then decides about every span, including those of slow and failed bids. Without it OTEL_TRACES_SAMPLER_ARG is the share of bids that are traced.",
    }),
  ),
  OTEL_SPAN_LINK_COUNT_LIMIT: Type.Integer({
    description: "Maximum links of a span. The default is the maximum number of bids in a batch.",
    minimum: 1,
    maximum: 10_000,
    default: 256,
  }),
};

/** Further variables of the tiers where traces begin. */
export const SamplingEnv = {
  OTEL_TRACES_SAMPLER_ARG: Type.String({
    description:
      "Share of bids that are traced. For a caller that sends a traceparent, its sampled flag decides instead, up to 100 times a second. Slow and failed bids always get a span. With OTEL_TRACES_SAMPLER: the argument of that sampler, 1 if it is not set.",
    default: String(DEFAULT_SHARE),
  }),
  TRACE_SLOW_MS: Type.Integer({
    description:
      "A bid that takes longer gets a span although it was not sampled, as a failed bid does: up to 50 a second, in ms.",
    minimum: 1,
    maximum: 60_000,
    default: 100,
  }),
};

type TelemetrySettings = Type.Static<Type.TObject<typeof TelemetryEnv>> & {
  /** Without it no trace begins here; traces of callers are continued. */
  readonly OTEL_TRACES_SAMPLER_ARG?: string;
  readonly TRACE_SLOW_MS?: number;
};

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
  const { OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_EXPORTER_OTLP_TRACES_ENDPOINT } = settings;
  const endpoint = OTEL_EXPORTER_OTLP_TRACES_ENDPOINT ?? OTEL_EXPORTER_OTLP_ENDPOINT;
  const isDisabled = settings.OTEL_SDK_DISABLED?.toLowerCase() === "true";
  if (endpoint === undefined || isDisabled) return OFF;
  if (!/^https?:/.test(endpoint) || !URL.canParse(endpoint)) {
    log.warn("the OTLP endpoint is not a URL like http://collector:4318: nothing is traced");
    return OFF;
  }
  const { startTracing } = await import("./tracing.ts");
  const { TRACE_SLOW_MS } = settings;
  const sampler = knownSampler(settings.OTEL_TRACES_SAMPLER, log);
  const ratio = sampler === null ? shareOf(settings.OTEL_TRACES_SAMPLER_ARG, log) : null;
  const slowMs = TRACE_SLOW_MS ?? Infinity;
  const linksMax = settings.OTEL_SPAN_LINK_COUNT_LIMIT;
  const resource = { "service.name": serviceName, "service.namespace": "gavel", ...attributes };
  const started = startTracing({ ratio, slowMs, linksMax, resource }, log);
  log.info({ sampler, ratio, slowMs }, "tracing started");
  return started;
}

/** Null if none is set, or the SDK does not know it: the SDK would then trace every bid. */
function knownSampler(sampler: string | undefined, log: Logger): string | null {
  if (sampler === undefined) return null;
  if (SAMPLERS.includes(sampler)) return sampler;
  log.warn({ sampler }, "OTEL_TRACES_SAMPLER is not known: OTEL_TRACES_SAMPLER_ARG decides");
  return null;
}

function shareOf(arg: string | undefined, log: Logger): number {
  if (arg === undefined) return 0;
  const share = Number(arg);
  if (share >= 0 && share <= 1) return share;
  log.warn({ default: DEFAULT_SHARE }, "OTEL_TRACES_SAMPLER_ARG is not a number from 0 to 1");
  return DEFAULT_SHARE;
}
