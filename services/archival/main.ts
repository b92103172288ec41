import { readEnv } from "../runtime/env.ts";
import { runProcess } from "../runtime/lifecycle.ts";
import { createLog } from "../runtime/log.ts";
import { startArchival } from "./app.ts";
import { ArchivalEnv } from "./config.ts";

const env = readEnv(ArchivalEnv);
const log = createLog("archival", env.LOG_LEVEL);

await runProcess(log, env.DRAIN_NOTICE_MS + env.DRAIN_MS, async (lifecycle) => {
  const archival = await startArchival(env, log);
  lifecycle.onStop("archival", () => archival.stop());
  log.info({ internalUrl: archival.internalUrl }, "listening");
});
