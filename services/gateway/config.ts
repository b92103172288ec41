import Type from "typebox";
import { TokenEnv } from "../access/config.ts";
import { ProcessEnv, PublicPortEnv } from "../runtime/env.ts";
import { ListenEnv } from "../runtime/listen.ts";
import { SamplingEnv, TelemetryEnv } from "../runtime/telemetry.ts";
import { BiddingEnv } from "../store/bidding.ts";

/** The environment of a gateway. */
export const GatewayEnv = Type.Object({
  ...ProcessEnv,
  ...PublicPortEnv,
  ...TelemetryEnv,
  ...SamplingEnv,
  ...TokenEnv,
  AUCTION_UID: Type.String({
    description: "Uid of the auction that this gateway takes bids for.",
    pattern: "^[A-Za-z0-9-]{1,64}$",
  }),
  REDIS_URL_FILE: Type.String({ description: "File with the URL of Redis.", minLength: 1 }),
  ...ListenEnv,
  PORT: Type.Integer({
    description: "Port for bidders and viewers; 0 picks a free port.",
    minimum: 0,
    maximum: 65535,
    default: 8080,
  }),
  INTERNAL_PORT: Type.Integer({
    description: "Port of /livez, /readyz and /metrics; 0 picks a free port.",
    minimum: 0,
    maximum: 65535,
    default: 9080,
  }),
  STREAM_URL: Type.String({
    description: "URL at which viewers reach the broadcast tier: in the page and in /v1/auction.",
    pattern: "^wss?://",
    default: "ws://localhost:8081/v1/stream",
  }),
  ARCHIVAL_URL: Type.String({
    description:
      "Internal URL of the archival tier, for bids that are older than those in the store.",
    pattern: "^https?://",
    default: "http://localhost:9082",
  }),
  ...BiddingEnv,
  ALLOWED_ORIGINS: Type.String({
    description:
      "Origins of other sites whose pages may call this gateway, separated by commas. Case and the default port do not matter; a value that is not an origin is skipped with a warning. Default: none, only its own page may call it.",
    pattern: "^(https?://[^\\s/,]+(\\s*,\\s*https?://[^\\s/,]+)*)?$",
    default: "",
  }),
});

export type GatewayEnv = Type.Static<typeof GatewayEnv>;
