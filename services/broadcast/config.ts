import Type from "typebox";
import { TokenEnv } from "../access/config.ts";
import { ProcessEnv, PublicPortEnv } from "../runtime/env.ts";
import { ListenEnv } from "../runtime/listen.ts";
import { SamplingEnv, TelemetryEnv } from "../runtime/telemetry.ts";
import { BiddingEnv } from "../store/bidding.ts";

export const BroadcastEnv = Type.Object({
  ...ProcessEnv,
  ...PublicPortEnv,
  ...TelemetryEnv,
  ...SamplingEnv,
  ...TokenEnv,
  AUCTION_UID: Type.String({
    description:
      "Uid of the auction whose events this process broadcasts: part of every key in the store.",
    pattern: "^[A-Za-z0-9-]{1,64}$",
  }),
  REDIS_URL_FILE: Type.String({
    description: "File with the URL of Redis. It is read again at each connection.",
    minLength: 1,
  }),
  ...ListenEnv,
  PORT: Type.Integer({
    description: "Port of the stream; 0 picks a free port.",
    minimum: 0,
    maximum: 65_535,
    default: 8081,
  }),
  INTERNAL_PORT: Type.Integer({
    description: "Port of /livez, /readyz and /metrics; 0 picks a free port.",
    minimum: 0,
    maximum: 65_535,
    default: 9081,
  }),
  ...BiddingEnv,
  ALLOWED_ORIGINS: Type.String({
    description:
      "Origins whose pages may open a stream, separated by commas; * allows all. Case and the default port do not matter; a value that is not an origin is skipped with a warning. A request without an Origin does not come from a page and is allowed.",
    minLength: 1,
    default: "*",
  }),
  MAX_SOCKETS: Type.Integer({
    description: "Most sockets of this process; further ones are answered 503.",
    minimum: 1,
    maximum: 1_000_000,
    default: 20_000,
  }),
  MAX_LOTS_PER_SOCKET: Type.Integer({
    description: "Most lots that one socket may watch.",
    minimum: 1,
    maximum: 1_000,
    default: 200,
  }),
  MESSAGES_PER_SECOND: Type.Integer({
    description:
      "Messages that one socket may send a second on average, and twice as many in a burst. A socket that sends more is closed.",
    minimum: 1,
    maximum: 10_000,
    default: 50,
  }),
});
export type BroadcastEnv = Type.Static<typeof BroadcastEnv>;
