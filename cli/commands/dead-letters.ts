/** Lists, shows, replays and discards dead letters, over archival's internal port. */
import { readFileSync } from "node:fs";
import { userInfo } from "node:os";
import { parseArgs } from "node:util";
import { signLocalToken } from "../../operator/local/local-token.ts";
import { readRun } from "../../operator/local/run-record.ts";
import type { ListedDeadLetter } from "../../services/archival/postgres/dead-letters.ts";
import type { Invocation } from "../command.ts";
import { tableOf } from "../output/table.ts";

export const DEAD_LETTERS_HELP = `usage: gavel dead-letters list [--all]
       gavel dead-letters show ID
       gavel dead-letters replay ID
       gavel dead-letters discard ID --reason TEXT
       with each: [--archival URL --token FILE]

  list, show, replay or discard dead letters: entries that could not be archived

  list     the dead letters that wait; with --all also those that were replayed or discarded
  show     one dead letter, with its body
  replay   archive it, once the cause that its detail names is removed; a refused replay changes nothing
  discard  mark it as discarded without archiving it: it no longer blocks the completeness proof. It stays on
           record, with your name, the time and the reason. The proof still compares every lot with the archive,
           and fails if events are really missing.

  --archival URL   the internal port of an archival process; default: that of make up
  --token FILE     a file that holds a token with the scope admin; needed with --archival

exit codes
  0  done
  1  no such dead letter waits, the replay was refused, or archival refused the call
  2  the command line is wrong
  3  nothing runs here: start it with make up
`;

const TIMEOUT_MS = 15_000;
const TOKEN_SECONDS = 300;
const ACTIONS = ["list", "show", "replay", "discard"] as const;

interface Options {
  readonly action: (typeof ACTIONS)[number];
  /** Undefined for list. */
  readonly id: string | undefined;
  readonly all: boolean;
  readonly reason: string | undefined;
  readonly archival: string | undefined;
  readonly token: string | undefined;
}

interface Answer {
  readonly status: number;
  readonly body: {
    readonly outcome?: string;
    readonly detail?: string;
    readonly events?: number;
    readonly deadLetters?: readonly ListedDeadLetter[];
    readonly nextCursor?: string | null;
  };
}

type Call = (method: "GET" | "POST", path: string, body?: object) => Promise<Answer>;

export async function deadLetters({ folder, terminal, args }: Invocation): Promise<number> {
  let options: Options;
  try {
    options = parseOptions(args);
  } catch (error) {
    process.stderr.write(`gavel dead-letters: ${(error as Error).message}\n\n${DEAD_LETTERS_HELP}`);
    return 2;
  }
  const target = await targetOf(options, folder);
  if (target === null) {
    terminal.say(`nothing runs from ${folder.path}; start it with make up`);
    return 3;
  }
  const { say } = terminal;
  const call = callerOf(target);
  switch (options.action) {
    case "list":
      return list(call, options.all, say);
    case "show":
      return show(call, options.id!, say);
    case "replay":
      return end(await call("POST", `/${options.id}/replay`, {}), say);
    case "discard":
      return end(await call("POST", `/${options.id}/discard`, { reason: options.reason }), say);
  }
}

function parseOptions(args: readonly string[]): Options {
  const { values, positionals } = parseArgs({
    args: [...args],
    allowPositionals: true,
    options: {
      all: { type: "boolean", default: false },
      reason: { type: "string" },
      archival: { type: "string" },
      token: { type: "string" },
    },
  });
  const [name = "list", id, ...more] = positionals;
  const action = ACTIONS.find((each) => each === name);
  if (action === undefined) throw new Error(`no action ${name}`);
  if (more.length > 0 || (action === "list" && id !== undefined)) {
    throw new Error(`unexpected argument ${more[0] ?? id}`);
  }
  if (action !== "list" && !/^[1-9]\d{0,14}$/.test(id ?? "")) {
    throw new Error(`${action} needs the number of a dead letter`);
  }
  if ((action === "discard") !== (values.reason !== undefined)) {
    throw new Error("--reason belongs to discard, which needs it");
  }
  if ((values.archival === undefined) !== (values.token === undefined)) {
    throw new Error("--archival and --token belong together");
  }
  const { all, reason, archival, token } = values;
  return { action, id, all, reason, archival, token };
}

interface Target {
  readonly url: string;
  readonly token: string;
}

/** Null if nothing runs from this folder. */
async function targetOf(
  { archival, token }: Options,
  folder: Invocation["folder"],
): Promise<Target | null> {
  if (archival !== undefined) return { url: archival, token: readFileSync(token!, "utf8").trim() };
  const run = readRun(folder);
  if (run === null) return null;
  const actor = userInfo().username;
  return {
    url: run.endpoints.internal.archival,
    token: await signLocalToken(folder, actor, "admin", TOKEN_SECONDS),
  };
}

const callerOf =
  ({ url, token }: Target): Call =>
  async (method, path, body) => {
    const answer = await fetch(`${url}/internal/v1/dead-letters${path}`, {
      method,
      signal: AbortSignal.timeout(TIMEOUT_MS),
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    return { status: answer.status, body: (await answer.json()) as Answer["body"] };
  };

async function list(call: Call, all: boolean, say: (line: string) => void): Promise<number> {
  const letters: ListedDeadLetter[] = [];
  for (let cursor: string | null = "0"; cursor !== null;) {
    const page: Answer = await call("GET", `?waiting=${!all}&cursor=${cursor}`);
    if (page.status !== 200) return end(page, say);
    letters.push(...page.body.deadLetters!);
    cursor = page.body.nextCursor!;
  }
  if (letters.length === 0) say(all ? "There are no dead letters." : "No dead letter waits.");
  else {
    const rows = letters.map((letter) => [
      letter.deadLetterId,
      letter.reason,
      letter.lotId ?? "",
      letter.outboxId ?? "",
      new Date(letter.foundAtMs),
      stateOf(letter),
      letter.detail,
    ]);
    say(tableOf(["id", "reason", "lot", "outbox id", "found", "state", "detail"], rows));
  }
  return 0;
}

function stateOf({ replayedAtMs, discarded }: ListedDeadLetter): string {
  if (replayedAtMs !== null) return "replayed";
  return discarded === null ? "waits" : `discarded by ${discarded.by}: ${discarded.why}`;
}

async function show(call: Call, id: string, say: (line: string) => void): Promise<number> {
  const answer = await call("GET", `/${id}`);
  if (answer.status !== 200) return end(answer, say);
  say(JSON.stringify(answer.body, null, 2));
  return 0;
}

/** Prints the outcome of a call. @returns the exit code */
function end({ status, body }: Answer, say: (line: string) => void): number {
  const { outcome, detail, events } = body;
  if (outcome === "archived") say(`Archived: ${events} events.`);
  else if (outcome === "discarded") say("Discarded. The record keeps it.");
  else if (outcome === "refused") say(`Refused, nothing was changed: ${detail}`);
  else say(`archival answers ${status}: ${detail ?? "no detail"}`);
  return outcome === "archived" || outcome === "discarded" ? 0 : 1;
}
