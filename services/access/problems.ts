/** All problems (RFC 9457) that are answered over HTTP and over the socket. */
import type { Placement, UnavailableReason } from "../store/place-bids.ts";

/** The code is the contract; the title explains it; the status is that of HTTP. */
export const PROBLEMS = {
  invalid: { status: 400, title: "The request is not valid" },
  unauthenticated: { status: 401, title: "A valid bearer token is needed" },
  forbidden: { status: 403, title: "The token does not allow this" },
  unknown_lot: { status: 404, title: "The auction has no such lot" },
  not_found: { status: 404, title: "There is nothing here" },
  method_not_allowed: { status: 405, title: "This cannot be done here" },
  timeout: { status: 408, title: "The request took too long to arrive" },
  too_low: { status: 409, title: "The bid is below the minimum" },
  jump_too_large: { status: 409, title: "The bid is too far above the minimum" },
  not_open: { status: 409, title: "The lot is not open yet" },
  closed: { status: 409, title: "The lot is closed" },
  withdrawn: { status: 409, title: "The lot was withdrawn" },
  suspended: { status: 409, title: "The auction takes no bids for a while" },
  key_reused: { status: 409, title: "The idempotency key was used for another bid" },
  refused: { status: 409, title: "The auction is not in a state that allows this" },
  too_large: { status: 413, title: "The request is too large" },
  expectation_failed: { status: 417, title: "The request expects what is not offered" },
  unsupported_media_type: { status: 415, title: "The body must be application/json" },
  headers_too_large: { status: 431, title: "The request's headers are too large" },
  internal: { status: 500, title: "Something went wrong on our side" },
  unavailable: { status: 503, title: "Bids cannot be taken at the moment" },
  unknown: { status: 503, title: "It is not known whether the bid was accepted" },
} as const;

export type ProblemCode = keyof typeof PROBLEMS;

/** Fields that only some problems have. */
interface ProblemExtra {
  /** `invalid`: the wrong field of the body, parameter or header. */
  readonly field?: string;
  /** `too_low`: the minimum amount. */
  readonly minimumMinor?: number;
  /** `jump_too_large`: the largest amount that may be bid. */
  readonly maximumMinor?: number;
  /** `too_low`, `jump_too_large`: the position of the lot at which that amount holds. */
  readonly epoch?: number;
  readonly seq?: number;
}

export interface Problem extends ProblemExtra {
  /** A stable URI of the code. */
  readonly type: string;
  readonly title: string;
  readonly status: number;
  /** For people; may change. */
  readonly detail: string;
  readonly code: ProblemCode;
}

const TYPE_PREFIX = "https://gavel.dev/problems/";

export function problem(code: ProblemCode, detail: string, extra?: ProblemExtra): Problem {
  const { status, title } = PROBLEMS[code];
  return { type: TYPE_PREFIX + code, title, status, detail, code, ...extra };
}

/**
 * Seconds until a retry, for codes that are temporary; null for the others. Randomised, so that clients that
 * were refused together do not retry together.
 */
export function retryAfterSeconds(code: ProblemCode): number | null {
  if (code === "unknown") return 1;
  if (code === "unavailable") return 1 + Math.floor(Math.random() * 3);
  return null;
}

const UNAVAILABLE_DETAILS: Record<UnavailableReason, string> = {
  store: "The store cannot be reached.",
  busy: "Too many bids are waiting.",
  undefined: "The auction is not set up yet.",
  expired: "The bid waited too long.",
  regressed: "The store is behind what was already acknowledged; it is being checked.",
  unconfirmed: "The store came back, and is compared with the archive first.",
  full: "The store is full, until the archive has caught up or old idempotency keys are forgotten.",
};

/** The problem of a bid that was not accepted. */
export function problemOf(placement: Exclude<Placement, { outcome: "accepted" }>): Problem {
  switch (placement.outcome) {
    case "too_low": {
      const { minimumMinor, epoch, seq } = placement;
      const detail = `The least that is accepted is ${minimumMinor} minor units, as of event ${seq} of the lot.`;
      return problem("too_low", detail, { minimumMinor, epoch, seq });
    }
    case "jump_too_large": {
      const { maximumMinor, epoch, seq } = placement;
      const detail = `The most that is accepted is ${maximumMinor} minor units, as of event ${seq} of the lot.`;
      return problem("jump_too_large", detail, { maximumMinor, epoch, seq });
    }
    case "too_high":
      return problem("invalid", "amountMinor is above what this auction allows.", {
        field: "amountMinor",
      });
    case "not_open":
      return problem("not_open", "The lot takes bids from its opensAtMs on.");
    case "closed":
      return problem(
        "closed",
        "The bid came at or after the lot's close, by the store's clock, or the auction was ended.",
      );
    case "withdrawn":
      return problem("withdrawn", "The lot takes no more bids, and will not be sold.");
    case "suspended":
      return problem(
        "suspended",
        "Bidding is suspended. When it resumes, open lots close later by the length of the suspension.",
      );
    case "unknown_lot":
      return problem("unknown_lot", "No lot of this auction has that lotId.");
    case "key_reused":
      return problem("key_reused", "This key was accepted with another amount; use a new one.");
    case "unavailable":
      return problem(
        "unavailable",
        `${UNAVAILABLE_DETAILS[placement.why]} Nothing was decided; the bid may be sent again.`,
      );
    case "unknown":
      return problem(
        "unknown",
        "The store did not answer in time: the bid may or may not have been accepted. " +
          "Send it again with the same Idempotency-Key to learn which; it is placed at most once.",
      );
  }
}
