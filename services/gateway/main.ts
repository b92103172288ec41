import { readEnv } from "../runtime/env.ts";
import { runProcess } from "../runtime/lifecycle.ts";
import { createLog } from "../runtime/log.ts";
import { startGateway } from "./app.ts";
import { GatewayEnv } from "./config.ts";

const env = readEnv(GatewayEnv);
const log = createLog("gateway", env.LOG_LEVEL);

await runProcess(log, env.DRAIN_NOTICE_MS + env.DRAIN_MS, async (lifecycle) => {
  const gateway = await startGateway(env, log);
  lifecycle.onStop("gateway", () => gateway.stop());
});
