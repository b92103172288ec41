/** What this machine asks the archival tier: its state, and to open the auction. */
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import { pause } from "../../services/runtime/lifecycle.ts";
import { signToken } from "../../services/access/tokens.ts";
import type { DataFolder } from "./data-folder.ts";
import type { Endpoints } from "./tiers.ts";

/** Of `GET /internal/v1/state`, as far as it is shown here. */
export interface ArchivalState {
  readonly phase: string;
  /** Of the rules in the store. */
  readonly rulesHash: string | null;
  /** Events that are not archived yet. */
  readonly pendingBytes: number | null;
  readonly archiveLagMs: number | null;
  readonly deadLetters: number | null;
}

const TIMEOUT_MS = 3_000;

/** Null where it does not answer. */
export async function archivalState(internalUrl: string): Promise<ArchivalState | null> {
  try {
    const signal = AbortSignal.timeout(TIMEOUT_MS);
    const response = await fetch(`${internalUrl}/internal/v1/state`, { signal });
    return response.ok ? ((await response.json()) as ArchivalState) : null;
  } catch {
    return null;
  }
}

const OPEN_TIMEOUT_MS = 60_000;

/**
 * Opens the auction, once it is defined. Repeating it changes nothing.
 * @throws Error when it is not open within a minute
 */
export async function askToOpen(
  { internal }: Endpoints,
  folder: DataFolder,
  signal: AbortSignal,
): Promise<void> {
  const deadline = Date.now() + OPEN_TIMEOUT_MS;
  const token = await tokenFor(folder, "owner", "admin", 300);
  let why = "";
  do {
    signal.throwIfAborted();
    try {
      const response = await fetch(`${internal.archival}/internal/v1/open`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(TIMEOUT_MS),
      });
      if (response.ok) return;
      why = `archival answers ${response.status}: ${(await response.text()).slice(0, 300)}`;
    } catch (error) {
      why = `archival does not answer: ${(error as Error).message}`;
    }
    await pause(200, signal);
  } while (Date.now() < deadline);
  throw new Error(`the auction could not be opened: ${why}`);
}

export function tokenFor(
  folder: DataFolder,
  sub: string,
  scope: string,
  lifetimeSeconds: number,
): Promise<string> {
  return signToken(readSecretFile(folder.tokenSecretFile), { sub, scope, lifetimeSeconds });
}
