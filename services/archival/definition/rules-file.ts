import { readFileSync } from "node:fs";
import Type from "typebox";
import { Value } from "typebox/value";
import { LOT_ID_PATTERN } from "../../access/limits.ts";
import { MAX_MINOR } from "../../lot/money.ts";
import { DEFAULT_MAX_JUMP, LARGEST_MAX_JUMP } from "../../lot/terms.ts";
import type { AuctionDefinition } from "../../store/define-lots.ts";

const Minor = Type.Integer({ minimum: 0, maximum: MAX_MINOR });
const Ms = Type.Integer({ minimum: 0, maximum: MAX_MINOR });
const nullable = <T extends Type.TSchema>(schema: T) => Type.Union([schema, Type.Null()]);

/** It is not a definition of this auction. */
export class InvalidDefinition extends Error {
  override readonly name = "InvalidDefinition";
}

/** The shape of a rules file. The operator has checked the rules between its fields. */
const Definition = Type.Object({
  uid: Type.String({ pattern: "^[A-Za-z0-9_-]{1,64}$" }),
  generation: Type.Integer({ minimum: 0, maximum: MAX_MINOR, default: 0 }),
  name: Type.String(),
  title: Type.String(),
  currency: Type.String({ pattern: "^[A-Z]{3}$" }),
  minorUnitDigits: Type.Integer({ minimum: 0, maximum: 4 }),
  opensAtMs: nullable(Ms),
  suspended: Type.Boolean({ default: false }),
  rules: Type.Object({
    increments: Type.Array(
      Type.Object({
        fromMinor: Minor,
        stepMinor: Type.Integer({ minimum: 1, maximum: MAX_MINOR }),
      }),
      { minItems: 1 },
    ),
    antiSniping: Type.Object({
      windowMs: Ms,
      extensionMs: Ms,
      maxExtensions: Type.Integer({ minimum: 0, maximum: 1_000_000 }),
    }),
    maxAmountMinor: Type.Integer({ minimum: 1, maximum: MAX_MINOR }),
    maxJump: Type.Integer({ minimum: 2, maximum: LARGEST_MAX_JUMP, default: DEFAULT_MAX_JUMP }),
    reserveDisclosure: Type.Union([
      Type.Literal("Hidden"),
      Type.Literal("MetOnly"),
      Type.Literal("Public"),
    ]),
  }),
  lots: Type.Array(
    Type.Object({
      lotId: Type.String({ pattern: LOT_ID_PATTERN }),
      title: Type.String(),
      startMinor: Minor,
      reserveMinor: nullable(Minor),
      closesAtMs: nullable(Ms),
      lastsMs: nullable(Ms),
      withdrawn: Type.Boolean(),
    }),
    { minItems: 1 },
  ),
});

/** A rules file as it was read at one moment. */
export interface RulesFile {
  readonly text: string;
  readonly definition: AuctionDefinition;
}

/** @throws Error naming the file and each wrong field */
export function readRulesFile(path: string, auctionUid: string): RulesFile {
  const text = readRulesText(path);
  return { text, definition: parseRules(text, path, auctionUid) };
}

/** @throws Error naming the file */
export function readRulesText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new Error(`rules file ${path}: ${(error as Error).message}`, { cause: error });
  }
}

/** @throws Error naming the file and each wrong field */
export function parseRules(text: string, path: string, auctionUid: string): AuctionDefinition {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw new Error(`rules file ${path}: ${(error as Error).message}`, { cause: error });
  }
  return parseDefinition(value, `rules file ${path}`, auctionUid);
}

/** @param source for error messages @throws InvalidDefinition naming each wrong field */
export function parseDefinition(
  given: unknown,
  source: string,
  auctionUid: string,
): AuctionDefinition {
  const invalid = (why: string) => new InvalidDefinition(`${source}: ${why}`);
  const value = Value.Default(Definition, given);
  const problems = Value.Errors(Definition, value);
  if (problems.length > 0) {
    throw invalid(
      problems.map(({ instancePath, message }) => `${instancePath} ${message}`).join("; "),
    );
  }
  const definition = value as Type.Static<typeof Definition>;
  if (definition.uid !== auctionUid) {
    throw invalid(`it is of auction ${definition.uid}, not ${auctionUid}`);
  }
  for (const { lotId, closesAtMs, lastsMs } of definition.lots) {
    if ((closesAtMs === null) === (lastsMs === null)) {
      throw invalid(`lot ${lotId}: give exactly one of closesAtMs and lastsMs`);
    }
  }
  return definition;
}
