/** What a plan may contain. `act()` takes the actions in order. */
import type { AuctionDefinition } from "../../services/store/define-lots.ts";
import type { KubeObject } from "../desired/kube-object.ts";
import type { Ref } from "../kube/object.ts";
import type { StatusFacts } from "./status-facts.ts";

/** A call to archival's internal API. After one that has no answer, the plan makes no further call. */
export type DataPlaneAction =
  | {
      readonly type: "publish-rules";
      readonly definition: AuctionDefinition;
      readonly rulesHash: string;
      /** Whether the auction is due to open once the store has these rules. */
      readonly thenOpen: boolean;
    }
  | { readonly type: "open" }
  /** Ends all intake for good. */
  | { readonly type: "fence" }
  /** Compares the archive with the store: the completeness proof. */
  | { readonly type: "verify" }
  /** Deletes the Auction's keys and stream. @param force even if the archive is not proven complete */
  | { readonly type: "clean"; readonly force: boolean };

export type Action =
  /**
   * Applies the desired objects and deletes the rest. A refusal is reported in the status; any other failure
   * is thrown after the remaining actions.
   */
  | { readonly type: "apply"; readonly objects: readonly KubeObject[]; readonly dryRun: boolean }
  /** Applies what the drain needs. Refusals are ignored; any other failure ends the plan. */
  | { readonly type: "apply-for-drain"; readonly objects: readonly KubeObject[] }
  | DataPlaneAction
  /** Writes the status, if it is worth a write, and records events about what changed. */
  | { readonly type: "write-status" }
  | { readonly type: "remove"; readonly refs: readonly Ref[] }
  | { readonly type: "remove-finalizer" }
  /** Records that the Auction was released without proof of its archive. */
  | { readonly type: "report-release"; readonly message: string };

export interface Plan {
  readonly actions: readonly Action[];
  /** The status before any action; `act()` adds what the actions brought. */
  readonly status: StatusFacts;
  /** When to reconcile again; null: when the status makes it due. */
  readonly requeueAfterMs: number | null;
}
