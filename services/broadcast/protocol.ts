/**
 * The messages of /v1/stream, as PROTOCOL.md describes them: schemas, parsing, close codes. Knows no socket.
 * protocol.test.ts fails where this file and PROTOCOL.md differ.
 */
import Type from "typebox";
import { Compile } from "typebox/compile";
import { isExactAmount } from "../access/exact-amount.ts";
import { KEY_PATTERN, LOT_ID_PATTERN, TOKEN_MAX_BYTES } from "../access/limits.ts";
import type { Problem } from "../access/problems.ts";
import { MAX_MINOR } from "../lot/money.ts";
import type { Accepted } from "../store/place-bids.ts";

/** Lots that one message may name. */
export const LOTS_PER_MESSAGE = 100;

/**
 * The largest message of a viewer. The longest that the schemas allow is a `subscribe` that resumes 100 lots
 * with names of 32 characters and positions of 16 digits: 12,039 bytes, 12,642 with spaces after `:` and `,`.
 */
export const STREAM_MESSAGE_MAX_BYTES = 16 * 1024;

const closed = { additionalProperties: false };
const LotId = Type.String({ pattern: LOT_ID_PATTERN });
const Lots = Type.Array(LotId, { minItems: 1, maxItems: LOTS_PER_MESSAGE, uniqueItems: true });

/** Any integers: a position that never existed is answered, not refused. */
const Position = Type.Object({ epoch: Type.Integer(), seq: Type.Integer() }, closed);

export const CLIENT_MESSAGES = {
  authenticate: Type.Object(
    {
      type: Type.Literal("authenticate"),
      token: Type.String({ minLength: 1, maxLength: TOKEN_MAX_BYTES }),
    },
    closed,
  ),
  subscribe: Type.Object(
    {
      type: Type.Literal("subscribe"),
      lots: Lots,
      since: Type.Optional(Type.Record(LotId, Position, closed)),
    },
    closed,
  ),
  unsubscribe: Type.Object({ type: Type.Literal("unsubscribe"), lots: Lots }, closed),
  place_bid: Type.Object(
    {
      type: Type.Literal("place_bid"),
      lotId: LotId,
      amountMinor: Type.Integer({ minimum: 1, maximum: MAX_MINOR }),
      key: Type.String({ pattern: KEY_PATTERN }),
      traceparent: Type.Optional(Type.String({ maxLength: 128 })),
    },
    closed,
  ),
  ping: Type.Object({ type: Type.Literal("ping") }, closed),
};

type Messages = typeof CLIENT_MESSAGES;
export type ClientMessage = { [K in keyof Messages]: Type.Static<Messages[K]> }[keyof Messages];
type ClientMessageType = keyof Messages;
export const CLIENT_MESSAGE_TYPES = Object.keys(CLIENT_MESSAGES) as readonly ClientMessageType[];

/** Messages of the server, besides a lot's events and snapshots, which the hub builds. */
export type ServerMessage =
  | { readonly type: "authenticated"; readonly bidderId: string; readonly expiresAtMs: number }
  | { readonly type: "unsubscribed"; readonly lots: readonly string[] }
  | ({ readonly type: "bid_result"; readonly key: string; readonly accepted: true } & Omit<
      Accepted,
      "outcome"
    >)
  | {
      readonly type: "bid_result";
      readonly key: string;
      /** Null if the bid has no valid lotId. */
      readonly lotId: string | null;
      readonly accepted: false;
      readonly problem: Problem;
    }
  | { readonly type: "error"; readonly lotId?: string; readonly problem: Problem }
  | { readonly type: "pong"; readonly serverTimeMs: number };

/** The `type` of every message of the server. */
export const SERVER_MESSAGE_TYPES = [
  "snapshot",
  "bid_accepted",
  "lot_opened",
  "lot_extended",
  "lot_closed",
  "lot_withdrawn",
  "bid_result",
  "authenticated",
  "unsubscribed",
  "error",
  "pong",
] as const;

/** The close codes, and whether the viewer should reconnect. */
export const CLOSE_CODES = {
  protocol_error: { code: 1002, reconnect: false },
  binary: { code: 1003, reconnect: false },
  not_utf8: { code: 1007, reconnect: false },
  too_many_errors: { code: 1008, reconnect: false },
  too_large: { code: 1009, reconnect: false },
  restarting: { code: 1012, reconnect: true },
  slow: { code: 1013, reconnect: true },
  too_many_messages: { code: 4429, reconnect: true },
} as const;

export type CloseReason = keyof typeof CLOSE_CODES;

type Reading =
  | { readonly ok: true; readonly message: ClientMessage }
  | {
      readonly ok: false;
      /** The invalid field; absent if the text is no message at all. */
      readonly field?: string;
      readonly detail: string;
      /** Present where the message is a bid with a valid key: it is then answered as a bid. */
      readonly bid?: { readonly key: string; readonly lotId: string | null };
    };

const validators = Object.fromEntries(
  Object.entries(CLIENT_MESSAGES).map(([type, schema]) => [type, Compile(schema)]),
) as unknown as Record<ClientMessageType, ReturnType<typeof Compile<Type.TSchema>>>;
const isKey = Compile(CLIENT_MESSAGES.place_bid.properties.key);
const isLotId = Compile(LotId);

/** Parses a message of a viewer. Nothing is coerced; unknown fields are refused. */
export function readMessage(text: string): Reading {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { ok: false, detail: "A message must be JSON." };
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    return { ok: false, detail: "A message must be a JSON object." };
  }
  const { type, key, lotId } = value as Record<string, unknown>;
  if (typeof type !== "string" || !Object.hasOwn(CLIENT_MESSAGES, type)) {
    const known = Object.keys(CLIENT_MESSAGES).join(", ");
    return { ok: false, field: "type", detail: `type must be one of ${known}.` };
  }
  const validator = validators[type as ClientMessageType];
  if (validator.Check(value)) {
    const message = value as ClientMessage;
    if (message.type === "place_bid" && !isExactAmount(text)) {
      const { key, lotId } = message;
      const detail = "amountMinor must be integer.";
      return { ok: false, field: "amountMinor", detail, bid: { key, lotId } };
    }
    const stray = message.type === "subscribe" ? strayLot(message) : undefined;
    if (stray === undefined) return { ok: true, message };
    return { ok: false, field: "since", detail: `since names ${stray}, which lots does not.` };
  }
  const wrong = { ok: false as const, ...firstError(validator.Errors(value)) };
  if (type !== "place_bid" || !isKey.Check(key)) return wrong;
  return { ...wrong, bid: { key: key as string, lotId: isLotId.Check(lotId) ? lotId : null } };
}

function strayLot({ lots, since }: Type.Static<Messages["subscribe"]>): string | undefined {
  return since && Object.keys(since).find((lotId) => !lots.includes(lotId));
}

interface SchemaError {
  readonly keyword: string;
  readonly instancePath: string;
  readonly message: string;
  readonly params: object;
}

function firstError(errors: readonly SchemaError[]): { field: string; detail: string } {
  const error = errors.find(({ keyword }) => keyword !== "additionalProperties") ?? errors[0]!;
  const { requiredProperties = [] } = error.params as { requiredProperties?: string[] };
  const path = [...error.instancePath.split("/").slice(1), ...requiredProperties.slice(0, 1)];
  const field = path.join(".").slice(0, 100) || "message";
  if (error.keyword === "required") return { field, detail: `${field} is missing.` };
  if (error.keyword === "boolean") return { field, detail: `${field} is not known here.` };
  return { field, detail: `${field} ${error.message}.` };
}

export function encodeMessage(message: ServerMessage): string {
  return JSON.stringify(message);
}
