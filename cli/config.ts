/** Variables of the commands besides those of `make up`. */
import Type from "typebox";

export const CommandEnv = Type.Object({
  BIDDER: Type.String({
    description: "`make token`: the bidder, which becomes the token's `sub`.",
    pattern: "^[^\\p{Cc}\\p{Cs}]{1,128}$",
    default: "alice",
  }),
  SCOPE: Type.Enum(["bid", "admin"], {
    type: "string",
    description: "`make token`: what the token allows; admin is for the owner of the auction.",
    default: "bid",
  }),
  Q: Type.Optional(Type.String({ description: "`make sql`: the SQL statement." })),
  TIER: Type.Optional(
    Type.Enum(["gateway", "broadcast", "archival", "redis", "nats", "postgres", "up"], {
      type: "string",
      description: "`make logs`: print the logs of this process only.",
    }),
  ),
  LINES: Type.Integer({
    description: "`make logs`: how many lines to print for each process.",
    minimum: 1,
    maximum: 100_000,
    default: 40,
  }),
});

export type CommandEnv = Type.Static<typeof CommandEnv>;
