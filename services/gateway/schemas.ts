/** Requests and answers: one source for validation, types and the OpenAPI document. */
import Type from "typebox";
import { KEY_PATTERN, LOT_ID_PATTERN } from "../access/limits.ts";
import { PROBLEMS, type ProblemCode } from "../access/problems.ts";
import { MAX_MINOR } from "../lot/money.ts";

const closed = { additionalProperties: false };
const instant = (description: string) =>
  Type.Integer({ description: `${description}, in ms since 1970, by the store's clock.` });
const orNull = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);
const words = <const T extends string>(all: readonly T[]) =>
  Type.Unsafe<T>(Type.String({ enum: all }));

export const LotParams = Type.Object(
  {
    lotId: Type.String({
      description: "Lower-case letters, digits and inner dashes; at most 32 characters.",
      pattern: LOT_ID_PATTERN,
    }),
  },
  closed,
);

const Limit = Type.String({
  description: "The largest number of entries in the answer: 1 to 200, 50 by default.",
  pattern: "^([1-9][0-9]?|1[0-9]{2}|200)$",
  default: "50",
});

export const LotsQuery = Type.Object(
  {
    cursor: Type.Optional(
      Type.String({ description: "`nextCursor` of the previous page.", pattern: LOT_ID_PATTERN }),
    ),
    limit: Limit,
    status: Type.Optional(words(["scheduled", "open", "closed", "withdrawn"])),
  },
  closed,
);

export const HistoryQuery = Type.Object(
  {
    cursor: Type.Optional(
      Type.String({
        description: "`nextCursor` of the previous page: <epoch>.<seq>.",
        pattern: "^[1-9][0-9]{0,8}\\.[1-9][0-9]{0,14}$",
      }),
    ),
    limit: Limit,
  },
  closed,
);

export const BidHeaders = Type.Object({
  "idempotency-key": Type.String({
    description:
      "The bidder's own key for this bid on this lot, 1–128 visible ASCII characters. A bid that is sent again with its key is placed once and gets the first answer. Keys are kept for at least 10 minutes.",
    pattern: KEY_PATTERN,
  }),
});

/** 1e2 and 100.0 count as the integer 100 (see strict-json.ts). Of equal names the last counts. */
export const BidBody = Type.Object(
  {
    amountMinor: Type.Integer({
      description: "The amount in minor units of the auction's currency (cents).",
      minimum: 1,
      maximum: MAX_MINOR,
    }),
  },
  closed,
);

export const BidAnswer = Type.Object(
  {
    bidId: Type.String(),
    lotId: Type.String(),
    amountMinor: Type.Integer(),
    epoch: Type.Integer({ description: "Raised when the store lost its latest events." }),
    seq: Type.Integer({ description: "The bid's number in the order of the lot's events." }),
    placedAtMs: instant("When it was decided"),
    closesAtMs: instant("When the lot closes, after this bid"),
    minimumMinor: Type.Integer({ description: "The lowest amount that the next bid may have." }),
  },
  { ...closed, title: "BidAnswer" },
);

export const AuctionAnswer = Type.Object(
  {
    uid: Type.String(),
    name: Type.String(),
    title: Type.String(),
    currency: Type.String({ description: "ISO 4217." }),
    minorUnitDigits: Type.Integer({ description: "Digits after the decimal point: 2 for EUR." }),
    opensAtMs: orNull(instant("When bidding opens; null until the time is fixed")),
    suspended: Type.Boolean({ description: "Whether bids are refused until the auction resumes." }),
    serverTimeMs: instant("Now"),
    streamUrl: Type.String({ description: "URL of the WebSocket with the live events." }),
    lotCount: Type.Integer(),
  },
  { ...closed, title: "Auction" },
);

const LeadingBid = Type.Object(
  { bidId: Type.String(), bidderId: Type.String(), amountMinor: Type.Integer() },
  closed,
);

export const LotAnswer = Type.Object(
  {
    lotId: Type.String(),
    title: Type.String(),
    status: words(["scheduled", "open", "closed", "withdrawn"]),
    suspended: Type.Boolean({
      description:
        "Bids are refused until the auction resumes; the lot then closes later by the same time.",
    }),
    minimumMinor: Type.Integer({ description: "The lowest amount that the next bid may have." }),
    leadingBid: orNull(LeadingBid),
    bidCount: Type.Integer(),
    opensAtMs: orNull(instant("When bidding opens")),
    closesAtMs: orNull(instant("When bidding closes; a late bid may extend it")),
    extensions: Type.Integer({ description: "How often a late bid has extended the lot." }),
    reserveMet: orNull(Type.Boolean()),
    reserveMinor: orNull(Type.Integer()),
    outcome: orNull(words(["sold", "reserve_not_met", "no_bids"])),
    epoch: Type.Integer(),
    seq: Type.Integer({ description: "`seq` of the lot's last event; 0 before it opened." }),
  },
  { ...closed, title: "Lot" },
);

export const LotsAnswer = Type.Object(
  { lots: Type.Array(LotAnswer), nextCursor: orNull(Type.String()) },
  closed,
);

export const HistoryAnswer = Type.Object(
  {
    bids: Type.Array(
      Type.Object(
        {
          bidId: Type.String(),
          bidderId: Type.String(),
          amountMinor: Type.Integer(),
          epoch: Type.Integer(),
          seq: Type.Integer(),
          placedAtMs: instant("When it was decided"),
        },
        closed,
      ),
    ),
    nextCursor: orNull(Type.String()),
  },
  closed,
);

export type History = Type.Static<typeof HistoryAnswer>;

const ProblemAnswer = Type.Object(
  {
    type: Type.String({ description: "A stable URI of the code." }),
    title: Type.String(),
    status: Type.Integer(),
    detail: Type.String({ description: "For a person; may change." }),
    code: Type.String({ enum: Object.keys(PROBLEMS) }),
    field: Type.Optional(
      Type.String({ description: "`invalid`: the field or header that is wrong." }),
    ),
    minimumMinor: Type.Optional(
      Type.Integer({
        description:
          "`too_low`: the lowest amount that would have been accepted, as of event `seq`.",
      }),
    ),
    maximumMinor: Type.Optional(
      Type.Integer({
        description:
          "`jump_too_large`: the highest amount that would have been accepted, as of event `seq`.",
      }),
    ),
    epoch: Type.Optional(
      Type.Integer({ description: "`too_low`, `jump_too_large`: epoch of that event." }),
    ),
    seq: Type.Optional(Type.Integer()),
  },
  { ...closed, title: "Problem" },
);

const RETRY_AFTER = {
  "Retry-After": {
    description: "Seconds to wait before the request is sent again.",
    type: "integer",
  },
};

/** The problem answers of a route, by status. */
export function problemAnswers(...codes: ProblemCode[]): Record<string, unknown> {
  const always: ProblemCode[] = ["timeout", "headers_too_large", "internal", "unavailable"];
  const byStatus = Map.groupBy(new Set([...codes, ...always]), (code) => PROBLEMS[code].status);
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      status,
      {
        description: codes.map((code) => `\`${code}\`: ${PROBLEMS[code].title}`).join("; "),
        ...(status === 503 ? { headers: RETRY_AFTER } : {}),
        content: { "application/problem+json": { schema: ProblemAnswer } },
      },
    ]),
  );
}
