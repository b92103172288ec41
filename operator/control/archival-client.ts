/** What the operator asks of an Auction's archival tier. It is the only tier that the operator talks to. */
import { request } from "node:http";
import type { State } from "../../services/archival/observe/state.ts";
import type { AuctionDefinition } from "../../services/store/define-lots.ts";

export type Verified = NonNullable<State["verified"]>;

/** The tier did not answer, or not yet as asked: ask again later. */
export class ArchivalUnavailable extends Error {}

export type RulesAnswer =
  { readonly outcome: "defined" } | { readonly outcome: "refused"; readonly why: string };

export interface Archival {
  state(): Promise<State>;
  open(): Promise<void>;
  publishRules(definition: AuctionDefinition): Promise<RulesAnswer>;
  fence(): Promise<void>;
  verify(): Promise<Verified>;
  /** @param force also where the archive was not proven complete */
  clean(force: boolean): Promise<void>;
}

const STATE_MS = 2_000;
const CALL_MS = 10_000;
const VERIFY_MS = 60_000;
const ANSWER_MAX_BYTES = 1024 * 1024;

interface Answer {
  readonly status: number;
  readonly body: unknown;
}

/** @param baseUrl e.g. http://spring-sale-archival-internal.default:9082 */
export function archivalAt(baseUrl: string, token: string): Archival {
  const ask = async (method: "GET" | "POST", path: string, deadlineMs: number, body?: object) => {
    const answer = await send(method, `${baseUrl}/internal/v1/${path}`, token, deadlineMs, body);
    if (answer.status === 200 || answer.status === 409) return answer;
    const { detail, why } = (answer.body ?? {}) as { detail?: string; why?: string };
    throw new ArchivalUnavailable(`${path} answered ${answer.status}: ${detail ?? why ?? ""}`);
  };
  const command = async (path: string, deadlineMs: number, body: object = {}) => {
    const answer = await ask("POST", path, deadlineMs, body);
    if (answer.status === 200) return answer.body;
    const { detail } = (answer.body ?? {}) as { detail?: string };
    throw new ArchivalUnavailable(`${path} was refused: ${detail ?? "conflict"}`);
  };
  return {
    state: async () => (await ask("GET", "state", STATE_MS)).body as State,
    open: async () => void (await command("open", CALL_MS)),
    publishRules: async (definition) => {
      const { status, body } = await ask("POST", "rules", CALL_MS, definition);
      if (status === 200) return { outcome: "defined" };
      const { detail } = (body ?? {}) as { detail?: string };
      return { outcome: "refused", why: detail ?? "the store keeps the rules that it has" };
    },
    fence: async () => void (await command("fence", CALL_MS)),
    verify: async () => (await command("verify", VERIFY_MS)) as Verified,
    clean: async (force) => void (await command("clean", VERIFY_MS, { force })),
  };
}

/** One connection a call: pods come and go, and a kept one would go on reaching the one that left. */
function send(
  method: string,
  url: string,
  token: string,
  deadlineMs: number,
  body?: object,
): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) => reject(new ArchivalUnavailable(error.message));
    const asked = request(
      url,
      {
        method,
        agent: false,
        signal: AbortSignal.timeout(deadlineMs),
        headers: {
          authorization: `Bearer ${token}`,
          ...(body === undefined ? {} : { "content-type": "application/json" }),
        },
      },
      (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on("data", (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > ANSWER_MAX_BYTES) response.destroy(new Error("the answer is too long"));
          else chunks.push(chunk);
        });
        response.on("error", fail);
        response.on("end", () => {
          const text = Buffer.concat(chunks).toString("utf8");
          try {
            resolve({ status: response.statusCode!, body: text === "" ? null : JSON.parse(text) });
          } catch {
            fail(new Error(`answered ${response.statusCode} without JSON`));
          }
        });
      },
    );
    asked.on("error", fail);
    asked.end(body === undefined ? undefined : JSON.stringify(body));
  });
}
