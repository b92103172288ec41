/** Traffic of every kind for tests of logs and metrics: bids, reads and sockets, valid and invalid. */
import { randomUUID } from "node:crypto";
import { pause } from "../runtime/lifecycle.ts";
import type { LotDefinition } from "../store/define-lots.ts";
import { lotDefinition } from "./auction.ts";
import type { RunningAuction } from "./running-auction.ts";
import { connectViewer } from "./viewer.ts";

/** `lots` lots that last an hour, and `closing` lots of which one closes every second. */
export function lotsFor(lots: number, closing = 0): LotDefinition[] {
  return [
    ...Array.from({ length: lots }, (_, n) => lotDefinition(`lot-${n}`)),
    ...Array.from({ length: closing }, (_, n) =>
      lotDefinition(`short-${n}`, { lastsMs: (n + 1) * 1_000 }),
    ),
  ];
}

interface Traffic {
  /** Completed rounds. A round has bids over HTTP and over a socket, valid and invalid, and reads. */
  readonly rounds: number;
  stop(): Promise<void>;
}

/**
 * Runs until it is stopped.
 * @param names of the bidders
 * @param pauseMs between two rounds
 */
export function startTraffic(
  auction: Pick<RunningAuction, "gatewayUrl" | "streamUrl" | "token">,
  lotIds: readonly string[],
  names: readonly string[],
  pauseMs = 20,
): Traffic {
  const ending = new AbortController();
  const { signal } = ending;
  let rounds = 0;
  let amountMinor = 1_000;
  const oneOf = <T>(all: readonly T[]): T => all[rounds % all.length]!;
  const ask = async (path: string, init: RequestInit = {}): Promise<void> => {
    const answer = await fetch(`${auction.gatewayUrl}${path}`, init).catch(() => null);
    await answer?.text().catch(() => "");
  };
  const post = (lotId: string, token: string, body: object, key: string = randomUUID()) =>
    ask(`/v1/lots/${lotId}/bids`, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        "idempotency-key": key,
        authorization: `Bearer ${token}`,
      },
      body: JSON.stringify(body),
    });

  const run = async (): Promise<void> => {
    const viewers = await Promise.all(
      lotIds.slice(0, 5).map(() => connectViewer(auction.streamUrl)),
    );
    for (const viewer of viewers) viewer.send({ type: "subscribe", lots: lotIds.slice(0, 20) });
    while (!signal.aborted) {
      const [lotId, name] = [oneOf(lotIds), oneOf(names)];
      const token = await auction.token(name);
      const next = () => (amountMinor += 500);
      await Promise.all([
        post(lotId, token, { amountMinor: next() }),
        post(lotId, token, { amountMinor: 1 }),
        post(lotId, "no token", { amountMinor: next() }),
        post(lotId, token, { amountMinor: "much" }),
        post(`unknown-${rounds}`, token, { amountMinor: next() }),
        ask(`/v1/lots/${lotId}`),
        ask(`/v1/lots?limit=5`),
        ask(`/nowhere/${rounds}`),
        ask(`/v1/lots/${lotId}`, { method: "DELETE" }),
      ]);
      const viewer = oneOf(viewers);
      viewer.send({ type: "authenticate", token });
      viewer.send({ type: "place_bid", lotId, amountMinor: next(), key: randomUUID() });
      viewer.send({ type: "place_bid", lotId, amountMinor: 1, key: randomUUID() });
      viewer.send({ type: "subscribe", lots: [lotId], since: { [lotId]: { epoch: 1, seq: 1 } } });
      viewer.send({ type: "subscribe", lots: [`unknown-${rounds}`] });
      viewer.send({ type: "ping" });
      rounds++;
      await pause(pauseMs, signal);
    }
    for (const viewer of viewers) viewer.close();
  };
  const running = run();
  return {
    get rounds() {
      return rounds;
    },
    async stop() {
      ending.abort();
      await running;
    },
  };
}
