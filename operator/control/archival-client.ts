/** The client of an Auction's archival tier: the only tier that the operator calls. */
import { Agent, request } from "undici";
import { isUnavailable } from "../../services/access/error-class.ts";
import type { ArchivalState } from "../../services/archival/observe/state.ts";
import { StoreUnavailable } from "../../services/store/unreachable.ts";
import type { AuctionDefinition } from "../../services/store/define-lots.ts";
import { sentDefinition } from "../api/definition.ts";

/** Archival did not do it: no answer, an error, or a refusal. A later reconcile repeats the call. */
export class ArchivalUnavailable extends StoreUnavailable {}

/** What archival of an earlier version, kept by a rollout hold, does not report. */
const UNREPORTED = { keysFull: false, memoryShortage: null, refusals: {} } as const;

type RulesAnswer =
  { readonly outcome: "defined" } | { readonly outcome: "refused"; readonly why: string };

export interface Archival {
  state(): Promise<ArchivalState>;
  open(): Promise<void>;
  publishRules(definition: AuctionDefinition): Promise<RulesAnswer>;
  fence(): Promise<void>;
  /** Runs the completeness proof. Its result is part of the next state. */
  verify(): Promise<void>;
  /** @param force even if the archive is not proven complete */
  clean(force: boolean): Promise<void>;
}

const STATE_MS = 2_000;
const CALL_MS = 10_000;
const VERIFY_MS = 60_000;
const ANSWER_MAX_BYTES = 1024 * 1024;

/** `pipelining: 0` turns keep-alive off: a kept connection would still reach a pod that is terminating. */
const agent = new Agent({ pipelining: 0, maxResponseSize: ANSWER_MAX_BYTES });

interface Answer {
  readonly status: number;
  readonly body: { readonly detail?: string; readonly why?: string };
}

/** @param baseUrl e.g. http://spring-sale-archival-internal.default:9082 */
export function archivalAt(baseUrl: string, token: string): Archival {
  const send = async (
    method: "GET" | "POST",
    path: string,
    deadlineMs: number,
    body?: object,
  ): Promise<Answer> => {
    const answer = await exchange(`${baseUrl}/internal/v1/${path}`, {
      method,
      signal: AbortSignal.timeout(deadlineMs),
      headers: {
        authorization: `Bearer ${token}`,
        ...(body === undefined ? {} : { "content-type": "application/json" }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (answer.status === 200 || answer.status === 409) return answer;
    const { detail, why } = answer.body;
    throw new ArchivalUnavailable(`${path} answered ${answer.status}: ${detail ?? why ?? ""}`);
  };
  const command = async (path: string, deadlineMs: number, body: object = {}): Promise<void> => {
    const answer = await send("POST", path, deadlineMs, body);
    if (answer.status === 200) return;
    throw new ArchivalUnavailable(`${path} was refused: ${answer.body.detail ?? "conflict"}`);
  };
  return {
    state: async () => {
      const { body } = await send("GET", "state", STATE_MS);
      return { ...UNREPORTED, ...(body as Omit<ArchivalState, keyof typeof UNREPORTED>) };
    },
    open: () => command("open", CALL_MS),
    publishRules: async (definition) => {
      const { status, body } = await send("POST", "rules", CALL_MS, sentDefinition(definition));
      if (status === 200) return { outcome: "defined" };
      return { outcome: "refused", why: body.detail ?? "the store keeps its rules" };
    },
    fence: () => command("fence", CALL_MS),
    verify: () => command("verify", VERIFY_MS),
    clean: (force) => command("clean", VERIFY_MS, { force }),
  };
}

async function exchange(
  url: string,
  options: NonNullable<Parameters<typeof request>[1]>,
): Promise<Answer> {
  try {
    const { statusCode, body } = await request(url, { ...options, dispatcher: agent });
    const text = await body.text();
    return { status: statusCode, body: parseJson(text, statusCode) };
  } catch (error) {
    if (!isUnavailable(error)) throw error;
    throw new ArchivalUnavailable((error as Error).message, { cause: error });
  }
}

function parseJson(text: string, status: number): Answer["body"] {
  try {
    return (JSON.parse(text) ?? {}) as Answer["body"];
  } catch {
    throw new ArchivalUnavailable(`answered ${status} without JSON`);
  }
}
