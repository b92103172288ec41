import type { RestartReason } from "../reasons.ts";
import type { Progress } from "./progress.ts";

export type Phase =
  | "starting"
  /** The store lost data; it is being restored. */
  | "lost"
  | "serving"
  /** The auction was removed for good. */
  | "removed";

/** What this process does at present. The supervisor writes it; the observer and the routes read it. */
export interface ProcessState {
  phase: Phase;
  /** Null while this process does not run the pipeline. */
  progress: Progress | null;
  /** Why the pipeline stopped last; null if it did not fail. */
  lastFailure: RestartReason | null;
  /** Whether this process writes the health summary: from the pipeline's first start until the lease is lost. */
  writesSummary: boolean;
}
