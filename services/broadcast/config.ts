import Type from "typebox";
import { TokenEnv } from "../access/config.ts";
import { ProcessEnv } from "../runtime/env.ts";
import { SamplingEnv, TelemetryEnv } from "../runtime/telemetry.ts";
import { BiddingEnv } from "../store/bidding.ts";

export const BroadcastEnv = Type.Object({
  ...ProcessEnv,
  ...TelemetryEnv,
  ...SamplingEnv,
  ...TokenEnv,
  AUCTION_UID: Type.String({
    description: "Which auction this process shows: its uid, part of every key in the store.",
    pattern: "^[A-Za-z0-9-]{1,64}$",
  }),
  REDIS_URL_FILE: Type.String({ description: "File with the URL of Redis.", minLength: 1 }),
  HOST: Type.String({ description: "Address to listen on.", default: "0.0.0.0" }),
  PORT: Type.Integer({
    description: "Port of the stream; 0 takes a free one.",
    minimum: 0,
    maximum: 65_535,
    default: 8081,
  }),
  INTERNAL_PORT: Type.Integer({
    description: "Port of /livez, /readyz and /metrics; 0 takes a free one.",
    minimum: 0,
    maximum: 65_535,
    default: 9081,
  }),
  ...BiddingEnv,
  ALLOWED_ORIGINS: Type.String({
    description:
      "Origins whose pages may open a stream, separated by commas, compared exactly; * allows all. Requests without an Origin are no pages, and are let in.",
    minLength: 1,
    default: "*",
  }),
  MAX_SOCKETS: Type.Integer({
    description: "Sockets that this process holds at most; more are answered 503.",
    minimum: 1,
    maximum: 1_000_000,
    default: 20_000,
  }),
  MAX_LOTS_PER_SOCKET: Type.Integer({
    description: "Lots that one socket may watch.",
    minimum: 1,
    maximum: 1_000,
    default: 200,
  }),
  MESSAGES_PER_SECOND: Type.Integer({
    description:
      "Messages that one socket may send a second on average; twice as many at once. Beyond it, it is closed.",
    minimum: 1,
    maximum: 10_000,
    default: 50,
  }),
});
export type BroadcastEnv = Type.Static<typeof BroadcastEnv>;
