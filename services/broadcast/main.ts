import { readEnv } from "../runtime/env.ts";
import { runProcess } from "../runtime/lifecycle.ts";
import { createLog } from "../runtime/log.ts";
import { startBroadcast } from "./app.ts";
import { BroadcastEnv } from "./config.ts";

const env = readEnv(BroadcastEnv);
const log = createLog("broadcast", env.LOG_LEVEL);

await runProcess(log, env.DRAIN_NOTICE_MS + env.DRAIN_MS, async (lifecycle) => {
  const broadcast = await startBroadcast(env, log);
  lifecycle.onStop("broadcast", () => broadcast.stop());
});
