import Type from "typebox";
import { TokenEnv } from "../access/config.ts";
import { ProcessEnv } from "../runtime/env.ts";
import { ListenEnv } from "../runtime/listen.ts";
import { TelemetryEnv } from "../runtime/telemetry.ts";
import { DEFAULT_ACCEPTED_PER_SECOND, DEFAULT_OUTBOX_MAX_BYTES } from "../store/memory-budget.ts";

/** What the archival tier reads from its environment. */
export const ArchivalEnv = Type.Object({
  ...ProcessEnv,
  ...TelemetryEnv,
  ...TokenEnv,
  AUCTION_UID: Type.String({
    description: "The auction that this process serves.",
    pattern: "^[A-Za-z0-9-]{1,64}$",
  }),
  REDIS_URL_FILE: Type.String({
    description: "File with the URL of the auction's Redis: redis://[user:password@]host:port.",
    minLength: 1,
  }),
  NATS_URL_FILE: Type.String({
    description:
      "File with the URL of NATS (2.9.4 or newer, with JetStream): nats://[user:password@]host:port.",
    minLength: 1,
  }),
  POSTGRES_URL_FILE: Type.String({
    description:
      "File with the URL of the archive, or of PgBouncer in front of it: postgres://user:password@host:port/database. Its tables are in the schema public.",
    minLength: 1,
  }),
  NATS_STREAM_REPLICAS: Type.Integer({
    description:
      "On how many servers of a NATS cluster each event is stored: 1 or 3. With 1, the stream is created again from Redis if its server is gone for good.",
    enum: [1, 3],
    default: 1,
  }),
  RULES_FILE: Type.String({
    description:
      "File with the auction's rules and lots, JSON. Read every 5 s: changed rules are applied, or refused with a reason in the state.",
    minLength: 1,
  }),
  OPERATOR_TOKEN_FILE: Type.Optional(
    Type.String({
      description:
        "File with the bearer token that the internal POSTs accept, beside tokens with the scope admin. Read at each use.",
      minLength: 1,
    }),
  ),
  ...ListenEnv,
  INTERNAL_PORT: Type.Integer({
    description:
      "Port for health, metrics, and the routes for gateways and operators; 0 takes a free one.",
    minimum: 0,
    maximum: 65_535,
    default: 9082,
  }),
  OUTBOX_MAX_BYTES: Type.Integer({
    description:
      "Bytes of unarchived events at which bids are refused. JetStream holds up to twice as much; a quarter is kept after archiving.",
    minimum: 1024 * 1024,
    maximum: 16 * 1024 ** 3,
    default: DEFAULT_OUTBOX_MAX_BYTES,
  }),
  ACCEPTED_PER_SECOND: Type.Integer({
    description:
      "Accepted bids a second, averaged over ten minutes, for which Redis has room to keep idempotency keys. After more, bids are refused until the ten minutes are over.",
    minimum: 1,
    maximum: 1_000_000,
    default: DEFAULT_ACCEPTED_PER_SECOND,
  }),
});

export type ArchivalEnv = Type.Static<typeof ArchivalEnv>;
