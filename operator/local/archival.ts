/** Calls from this machine to archival's internal API: read its state, open the auction. */
import { isUnavailable } from "../../services/access/error-class.ts";
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import { pause } from "../../services/runtime/lifecycle.ts";
import type { DataFolder } from "./data-folder.ts";
import { signLocalToken } from "./local-token.ts";
import type { Endpoints } from "./tiers.ts";

/** The fields of `GET /internal/v1/state` that are shown here. */
type LocalState = Pick<
  ArchivalState,
  "phase" | "rulesHash" | "pendingBytes" | "archiveLagMs" | "deadLetters" | "refusals"
>;

const REQUEST_TIMEOUT_MS = 3_000;

/**
 * Null if archival does not answer, or another program answers at its port. Archival of an earlier version, which
 * runs until the next `make up`, reports no refusals.
 */
export async function readArchivalState(internalUrl: string): Promise<LocalState | null> {
  try {
    const signal = AbortSignal.timeout(REQUEST_TIMEOUT_MS);
    const response = await fetch(`${internalUrl}/internal/v1/state`, { signal });
    if (!response.ok) return null;
    const state = (await response.json()) as Omit<LocalState, "refusals"> & Partial<LocalState>;
    return { ...state, refusals: state.refusals ?? {} };
  } catch (error) {
    if (!isUnavailable(error) && !(error instanceof SyntaxError)) throw error;
    return null;
  }
}

const OPEN_TIMEOUT_MS = 60_000;

/**
 * Opens the auction. Idempotent. Retries while archival has not defined the auction yet.
 * @throws Error if the auction is not open within a minute
 */
export async function openAuction(
  { internal }: Endpoints,
  folder: DataFolder,
  signal: AbortSignal,
): Promise<void> {
  const deadline = Date.now() + OPEN_TIMEOUT_MS;
  const token = await signLocalToken(folder, "owner", "admin", 300);
  let reason = "";
  do {
    signal.throwIfAborted();
    try {
      const response = await fetch(`${internal.archival}/internal/v1/open`, {
        method: "POST",
        headers: { authorization: `Bearer ${token}` },
        signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
      });
      if (response.ok) return;
      reason = `archival answers ${response.status}: ${(await response.text()).slice(0, 300)}`;
    } catch (error) {
      reason = `archival does not answer: ${(error as Error).message}`;
    }
    await pause(200, signal);
  } while (Date.now() < deadline);
  throw new Error(`the auction could not be opened: ${reason}; see make logs TIER=archival`);
}
