import { spawnSync } from "node:child_process";
import { expect, test } from "vitest";

const here = (file: string) => new URL(file, import.meta.url).href;

/** Modules of OpenTelemetry that a process has loaded once telemetry has started. */
function loadedWith(endpoint: string | null): string[] {
  const script = `
    import { registerHooks } from "node:module";
    const loaded = [];
    registerHooks({ load: (url, context, next) => { loaded.push(url); return next(url, context); } });
    const { startTelemetry } = await import(${JSON.stringify(here("telemetry.ts"))});
    const { createLog } = await import(${JSON.stringify(here("log.ts"))});
    const settings = ${JSON.stringify(endpoint === null ? {} : { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint })};
    const telemetry = await startTelemetry(settings, "test", {}, createLog("test", "silent"));
    const names = loaded.flatMap((url) => /@opentelemetry\\/[a-z-]+/.exec(url) ?? []);
    process.stdout.write(JSON.stringify([...new Set(names)]));
    await telemetry.stop();
  `;
  const { stdout, stderr } = spawnSync(
    process.execPath,
    ["--input-type=module-typescript", "--eval", script],
    { encoding: "utf8", timeout: 30_000 },
  );
  if (stdout === "") throw new Error(stderr);
  return JSON.parse(stdout) as string[];
}

test("without an endpoint nothing of OpenTelemetry's SDK is loaded; with one it is", () => {
  expect(loadedWith(null)).toEqual([]);
  expect(loadedWith("http://127.0.0.1:1")).toContain("@opentelemetry/sdk-trace");
});
