import { spawn } from "node:child_process";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { text } from "node:stream/consumers";
import { expect, test } from "vitest";
import { plainEnv } from "../testing/plain-env.ts";
import { startOtlpReceiver } from "../testing/otlp-receiver.ts";

const here = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);

/** Runs a process that is configured as a tier is, begins 40 traces, and stops. */
async function runTraced(env: Record<string, string>) {
  const script = `
    import { registerHooks } from "node:module";
    const loaded = [];
    registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context); } });
    const { startTelemetry, TelemetryEnv, SamplingEnv } = await import(${here("telemetry.ts")});
    const { readEnv } = await import(${here("env.ts")});
    const { createLog } = await import(${here("log.ts")});
    const { default: Type } = await import("typebox");
    const settings = readEnv(Type.Object({ ...TelemetryEnv, ...SamplingEnv }));
    const telemetry = await startTelemetry(settings, "gavel-test", { "gavel.auction.uid": "u-1" }, createLog("test", "info"));
    const { tracing } = telemetry;
    if (tracing !== null) {
      const spans = Array.from({ length: 40 }, () => tracing.begin("work", undefined, {}));
      for (const span of spans) if (span !== null) tracing.finish(span, {}, null);
      tracing.afterwards("slow work", undefined, 500, {}, "late");
    }
    const names = loaded.flatMap((url) => /@opentelemetry\\/[a-z-]+/.exec(url) ?? []);
    console.log(JSON.stringify({ loaded: [...new Set(names)] }));
    if (process.env.WAIT_FOR_FAILURE) await new Promise((done) => setTimeout(done, 60_000));
    await telemetry.stop();
    process.exit();
  `;
  const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", script], {
    cwd: import.meta.dirname,
    env: plainEnv({
      OTEL_BSP_SCHEDULE_DELAY: "50",
      OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
      ...env,
    }),
    stdio: ["ignore", "pipe", "pipe"],
  });
  let failedMs = Infinity;
  child.stdout.on("data", (data: Buffer) => {
    if (!data.toString().includes("span export failed")) return;
    failedMs = performance.now();
    child.kill("SIGKILL");
  });
  const [out, err] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const lines = out.trim().split("\n");
  const line = lines.find((one) => one.startsWith('{"loaded"'));
  if (line === undefined) throw new Error(out + err);
  const { loaded } = JSON.parse(line) as { loaded: string[] };
  return { loaded, out, failedMs };
}

test("nothing of OpenTelemetry's SDK is loaded without an endpoint or with OTEL_SDK_DISABLED", async () => {
  const OTEL_EXPORTER_OTLP_ENDPOINT = "http://127.0.0.1:1";
  const [without, disabled, traced] = await Promise.all([
    runTraced({}),
    runTraced({ OTEL_EXPORTER_OTLP_ENDPOINT, OTEL_SDK_DISABLED: "true" }),
    runTraced({ OTEL_EXPORTER_OTLP_ENDPOINT }),
  ]);
  expect([without.loaded, disabled.loaded]).toEqual([[], []]);
  expect(traced.loaded).toContain("@opentelemetry/sdk-node");
});

test("OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES and OTEL_TRACES_SAMPLER are obeyed", async () => {
  const receiver = await startOtlpReceiver();
  const OTEL_EXPORTER_OTLP_TRACES_ENDPOINT = `${receiver.url}/v1/traces`;
  await runTraced({
    OTEL_EXPORTER_OTLP_TRACES_ENDPOINT,
    OTEL_SERVICE_NAME: "bids",
    OTEL_RESOURCE_ATTRIBUTES: "deployment.environment.name=test,service.namespace=theirs",
    OTEL_TRACES_SAMPLER: "always_on",
  });
  expect(receiver.spans.filter(({ name }) => name === "work").length).toBe(40);
  expect(receiver.spans[0]!.resource).toMatchObject({
    "service.name": "bids",
    "service.namespace": "theirs",
    "deployment.environment.name": "test",
    "gavel.auction.uid": "u-1",
  });
  const before = receiver.spans.length;
  const off = { OTEL_TRACES_SAMPLER: "always_off", OTEL_TRACES_SAMPLER_ARG: "1" };
  await runTraced({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, ...off });
  await runTraced({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_TRACES_EXPORTER: "none" });
  expect(receiver.spans.length).toBe(before);
  // Without a sampler the share decides, and slow or failed work still gets a span.
  await runTraced({ OTEL_EXPORTER_OTLP_TRACES_ENDPOINT, OTEL_TRACES_SAMPLER_ARG: "0" });
  expect(receiver.spans.slice(before)).toMatchObject([
    { name: "slow work", resource: { "service.name": "gavel-test", "service.namespace": "gavel" } },
  ]);
  expect(receiver.wrong).toEqual([]);
});

test("valid values that this process does not support are logged as warnings, and stop nothing", async () => {
  const receiver = await startOtlpReceiver();
  const [sampler, endpoint] = await Promise.all([
    runTraced({
      OTEL_EXPORTER_OTLP_ENDPOINT: receiver.url,
      OTEL_TRACES_SAMPLER: "parentbased_jaeger_remote",
      OTEL_TRACES_SAMPLER_ARG: "endpoint=http://jaeger:14250",
      OTEL_SDK_DISABLED: "no",
    }),
    runTraced({
      OTEL_EXPORTER_OTLP_ENDPOINT: "collector:4317",
      OTEL_EXPORTER_OTLP_PROTOCOL: "grpc",
    }),
  ]);
  expect(sampler.out).toContain("OTEL_TRACES_SAMPLER is not known");
  expect(receiver.spans.map(({ name }) => name)).toContain("slow work");
  expect(endpoint.out).toContain("nothing is traced");
  expect(endpoint.loaded).toEqual([]);
});

test("OTEL_EXPORTER_OTLP_TIMEOUT bounds the wait for a collector that does not answer", async () => {
  let askedMs = 0;
  const hung = createServer(() => (askedMs ||= performance.now())).listen(0, "127.0.0.1");
  await new Promise((resolve) => hung.once("listening", resolve));
  const { port } = hung.address() as AddressInfo;
  const { out, failedMs } = await runTraced({
    OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${port}`,
    OTEL_EXPORTER_OTLP_TIMEOUT: "50",
    OTEL_TRACES_SAMPLER: "always_on",
    WAIT_FOR_FAILURE: "1",
  });
  hung.closeAllConnections();
  hung.close();
  expect(out).toContain("span export failed");
  expect(failedMs - askedMs).toBeLessThan(5_000); // OpenTelemetry's default is 10 s
});
