/** Starts a gateway or broadcast of the benchmark's auction on the measured core. */
import { freePort } from "../servers/ports.ts";
import type { BenchAuction } from "./bench-auction.ts";
import { type Pinned, runPinned, SERVER_CORE } from "./pinned.ts";

const TRIES_MAX = 200;
const TRY_EVERY_MS = 50;

export interface StartedTier {
  readonly tier: Pinned;
  readonly port: number;
}

/** @throws Error when it is not ready within 10 s */
export async function startTier(
  { env }: BenchAuction,
  tier: "gateway" | "broadcast",
  changes: NodeJS.ProcessEnv = {},
): Promise<StartedTier> {
  const [port, internalPort] = [await freePort(), await freePort()];
  const ports = { PORT: String(port), INTERNAL_PORT: String(internalPort) };
  const process = runPinned(SERVER_CORE, `services/${tier}/main.ts`, [], {
    ...env,
    ...ports,
    ...changes,
  });
  for (let tries = 0; tries < TRIES_MAX; tries++) {
    const ready = await fetch(`http://127.0.0.1:${internalPort}/readyz`).catch(() => null);
    if (ready?.ok) return { tier: process, port };
    await new Promise((resolve) => setTimeout(resolve, TRY_EVERY_MS));
  }
  throw new Error(`${tier} was not ready within 10 s`);
}
