/** What the commands can be told by variables, besides those of `make up`. */
import Type from "typebox";

export const CommandEnv = Type.Object({
  BIDDER: Type.String({
    description: "`make token`: whose token; the `sub` that a bid is then placed under.",
    pattern: "^[^\\p{Cc}\\p{Cs}]{1,128}$",
    default: "alice",
  }),
  SCOPE: Type.Enum(["bid", "admin"], {
    type: "string",
    description: "`make token`: what it allows; admin is the owner's.",
    default: "bid",
  }),
  Q: Type.Optional(Type.String({ description: "`make sql`: the statement." })),
  TIER: Type.Optional(
    Type.Enum(["gateway", "broadcast", "archival", "redis", "nats", "postgres", "up"], {
      type: "string",
      description: "`make logs`: only of this process.",
    }),
  ),
  LINES: Type.Integer({
    description: "`make logs`: how many of the last lines of each process.",
    minimum: 1,
    maximum: 100_000,
    default: 40,
  }),
});

export type CommandEnv = Type.Static<typeof CommandEnv>;
