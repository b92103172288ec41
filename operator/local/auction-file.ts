/** Reads a YAML file as `kubectl apply -f` would: one Auction, and the Secrets with its reserves. */
import { readFileSync, statSync } from "node:fs";
import { type Document, LineCounter, parseAllDocuments } from "yaml";
import { isMinor } from "../../services/lot/money.ts";
import type { AuctionResource } from "../api/auction-resource.ts";
import { KIND } from "../api/auction-resource.ts";
import { type Problem, validateAuction } from "../api/validate-auction.ts";

export interface FileProblem extends Problem {
  /** Counted from 1; null if it is not known. */
  readonly line: number | null;
}

type AuctionFile =
  | {
      readonly ok: true;
      readonly auction: AuctionResource;
      /** Confidential reserves, by lot id. */
      readonly reserves: ReadonlyMap<string, number>;
    }
  | { readonly ok: false; readonly problems: readonly FileProblem[] };

const MAX_BYTES = 1024 * 1024;

export function readAuctionFile(path: string): AuctionFile {
  let text: string;
  try {
    if (statSync(path).size > MAX_BYTES) return fileProblem(`is larger than ${MAX_BYTES} bytes`);
    text = readFileSync(path, "utf8");
  } catch (error) {
    return fileProblem(`cannot be read: ${(error as Error).message}`);
  }
  return parseAuctionFile(text);
}

export function parseAuctionFile(text: string): AuctionFile {
  const lines = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter: lines, prettyErrors: false });
  if (!Array.isArray(documents)) return fileProblem("is empty");

  const errors = documents.flatMap((document) => document.errors);
  if (errors.length > 0) {
    const problems = errors.map(({ message, pos: [at] }) => {
      const { line, col } = lines.linePos(at);
      return { path: `column ${col}`, message, line };
    });
    return { ok: false, problems };
  }
  const parsed: Parsed[] = [];
  try {
    for (const document of documents) parsed.push({ document, value: document.toJS() as unknown });
  } catch (error) {
    return fileProblem(`cannot be read: ${(error as Error).message}`); // too many aliases
  }

  const secrets = parsed.filter(({ value }) => kindOf(value) === "Secret");
  const others = parsed.filter((each) => !secrets.includes(each) && each.value !== null);
  const auctions = others.filter(({ value }) => kindOf(value) === KIND);
  // A single document of another kind is validated as an Auction, so that its problems are reported.
  const [auctionDocument, second] = auctions.length === 0 ? others : auctions;
  if (auctionDocument === undefined) return fileProblem(`has no document of kind ${KIND}`);
  if (second !== undefined) return fileProblem(`must have exactly one document of kind ${KIND}`);

  const validation = validateAuction(auctionDocument.value);
  const problems = validation.ok ? [] : [...validation.problems];
  const reserves = new Map<string, number>();
  if (validation.ok) problems.push(...readReserves(validation.auction, secrets, reserves));
  if (!validation.ok || problems.length > 0) {
    const located = problems.map((problem) => ({
      ...problem,
      line: lineOf(auctionDocument.document, problem.path, lines),
    }));
    return { ok: false, problems: located };
  }
  return { ok: true, auction: validation.auction, reserves };
}

interface Parsed {
  readonly document: Document;
  readonly value: unknown;
}

function kindOf(value: unknown): unknown {
  return typeof value === "object" && value !== null && "kind" in value ? value.kind : undefined;
}

function readReserves(
  { spec }: AuctionResource,
  secrets: readonly Parsed[],
  reserves: Map<string, number>,
): Problem[] {
  return spec.lots.flatMap(({ id, reserveFrom, startMinor }, i) => {
    if (reserveFrom === undefined) return [];
    const { name, key } = reserveFrom;
    const secret = secrets.find(({ document }) => document.getIn(["metadata", "name"]) === name);
    const path = `spec.lots[${i}].reserveFrom`;
    if (!secret) return [{ path, message: `this file has no Secret ${name}` }];
    const text = secretText(secret.document, key);
    if (text === null) return [{ path, message: `Secret ${name} has no key ${key}` }];
    const reserveMinor = /^\d{1,16}$/.test(text.trim()) ? Number(text) : NaN;
    // The message does not contain the value, which is confidential.
    if (!isMinor(reserveMinor)) {
      return [{ path, message: `${key} of Secret ${name} is not a whole number of minor units` }];
    }
    if (reserveMinor < startMinor) {
      return [{ path, message: `${key} of Secret ${name} is below the lot's startMinor` }];
    }
    reserves.set(id, reserveMinor);
    return [];
  });
}

function secretText(secret: Document, key: string): string | null {
  const plain = secret.getIn(["stringData", key]);
  if (plain !== undefined) return String(plain);
  const encoded = secret.getIn(["data", key]);
  return typeof encoded === "string" ? Buffer.from(encoded, "base64").toString("utf8") : null;
}

/** The line of a path like `spec.lots[1].id`; if the field is missing, the line of its parent. */
function lineOf(document: Document, path: string, lines: LineCounter): number | null {
  const segments = path.match(/[^.[\]]+/g) ?? [];
  const keys = segments.map((segment) => (/^\d+$/.test(segment) ? Number(segment) : segment));
  for (; keys.length > 0; keys.pop()) {
    const node = document.getIn(keys, true) as { range?: [number, number, number] } | undefined;
    if (node?.range) return lines.linePos(node.range[0]).line;
  }
  return null;
}

function fileProblem(message: string): AuctionFile {
  return { ok: false, problems: [{ path: "the file", message, line: null }] };
}
