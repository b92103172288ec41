/**
 * `helm test`: opens a small Auction, places a bid over HTTP, waits for it on the stream and in the archive,
 * and deletes the Auction, which is gone only after the drain has proven the archive. Runs in a pod.
 */
import { randomUUID } from "node:crypto";
import Type from "typebox";
import { signToken } from "../../services/access/tokens.ts";
import { readEnv } from "../../services/runtime/env.ts";
import { pause } from "../../services/runtime/lifecycle.ts";
import { API_VERSION, KIND } from "../api/auction-resource.ts";
import { type Cluster, connectCluster } from "../kube/client.ts";
import { type AnyObject, KINDS } from "../kube/object.ts";

const HelmTestEnv = Type.Object({
  POD_NAMESPACE: Type.String({ description: "Namespace of the Auction.", minLength: 1 }),
  TIMEOUT_SECONDS: Type.Integer({
    description: "How long the whole test may take, in s.",
    minimum: 1,
    default: 300,
  }),
});

/** The Role of the test in the chart has this name, too. */
const NAME = "helm-test";
const MANAGER = "gavel-helm-test";
const LOT = "teapot";
const START_MINOR = 1_000;
const POLL_MS = 500;
const REQUEST_TIMEOUT_MS = 5_000;

const testAuction = (namespace: string): AnyObject => ({
  apiVersion: API_VERSION,
  kind: KIND,
  metadata: { name: NAME, namespace },
  spec: {
    title: "Helm test",
    currency: "EUR",
    schedule: { lasts: "30m" },
    lots: [{ id: LOT, title: "A teapot", startMinor: START_MINOR }],
    tiers: { prewarm: "0s" },
    deletion: { dataPolicy: "Delete" },
  },
});

const say = (line: string) => process.stdout.write(`${line}\n`);

/**
 * Repeats `attempt` until it returns a result. A string, or an error, is the reason why there is none yet.
 * @throws Error with the last reason, after the deadline
 */
async function waitFor<T>(
  goal: string,
  deadlineMs: number,
  attempt: () => Promise<T | string>,
): Promise<Exclude<T, string>> {
  const startedAtMs = Date.now();
  for (let lastReason = ""; ;) {
    let result: T | string;
    try {
      result = await attempt();
    } catch (error) {
      result = (error as Error).message;
    }
    if (typeof result !== "string") {
      say(`ok    ${goal} (${((Date.now() - startedAtMs) / 1_000).toFixed(1)} s)`);
      return result as Exclude<T, string>;
    }
    if (result !== lastReason) say(`      … ${result}`);
    lastReason = result;
    if (Date.now() > deadlineMs) throw new Error(`${goal}: not in time; ${lastReason}`);
    await pause(POLL_MS);
  }
}

const conditionOf = (auction: AnyObject | null, type: string) =>
  auction?.["status"]?.conditions?.find((one: { type: string }) => one.type === type);

async function signBidderToken(cluster: Cluster, namespace: string): Promise<string> {
  const name = `${NAME}-access`;
  const secret = await cluster.get<AnyObject>({ ...KINDS.Secret, namespace, name });
  const text = secret?.["data"]?.secret;
  if (typeof text !== "string") throw new Error(`no key "secret" in Secret ${name}`);
  return signToken(Buffer.from(text, "base64").toString(), {
    sub: "helm-test",
    lifetimeSeconds: 600,
  });
}

/** Subscribes to the lot. `bids` collects the amounts of the accepted bids on the stream. */
async function watchLot(url: string): Promise<{ bids: number[]; close(): void } | string> {
  const socket = new WebSocket(url);
  const bids: number[] = [];
  const watching = await new Promise<boolean | string>((resolve) => {
    socket.addEventListener("open", () =>
      socket.send(JSON.stringify({ type: "subscribe", lots: [LOT] })),
    );
    socket.addEventListener("error", () => resolve(`cannot connect to ${url}`));
    socket.addEventListener("close", ({ code }) => resolve(`${url} closed with ${code}`));
    socket.addEventListener("message", ({ data }) => {
      const frame = JSON.parse(String(data)) as Record<string, any>;
      if (frame["type"] === "snapshot") resolve(true);
      if (frame["type"] === "error") resolve(`${url}: ${frame["problem"]?.detail}`);
      if (frame["type"] === "bid_accepted") bids.push(frame["amountMinor"]);
    });
    setTimeout(() => resolve(`no snapshot from ${url}`), REQUEST_TIMEOUT_MS).unref();
  });
  if (watching === true) return { bids, close: () => socket.close() };
  socket.close();
  return String(watching);
}

async function run(cluster: Cluster, namespace: string, deadlineMs: number): Promise<void> {
  const ref = { apiVersion: API_VERSION, kind: KIND, namespace, name: NAME };
  const read = () => cluster.get<AnyObject>(ref);
  const isGone = async () =>
    (await read()) === null ? true : "the Auction helm-test still exists";

  await cluster.remove(ref);
  await waitFor("the Auction of an earlier test is gone", deadlineMs, isGone);
  await waitFor("the Auction is accepted", deadlineMs, () =>
    cluster.createIfAbsent(testAuction(namespace), { manager: MANAGER }).then(() => true),
  );
  await waitFor("the Auction is open", deadlineMs, async () => {
    const auction = await read();
    const { phase = "Pending" } = auction?.["status"] ?? {};
    const ready = conditionOf(auction, "Ready");
    return phase === "Open" && ready?.status === "True"
      ? true
      : `${phase}: ${ready?.message ?? ""}`;
  });

  const stream = await waitFor("a viewer is subscribed to the lot", deadlineMs, () =>
    watchLot(`ws://${NAME}-broadcast.${namespace}:8081/v1/stream`),
  );
  const token = await signBidderToken(cluster, namespace);
  const key = randomUUID(); // the same key for every attempt: the bid is placed once
  await waitFor("a bid is accepted", deadlineMs, async () => {
    const url = `http://${NAME}-gateway.${namespace}:8080/v1/lots/${LOT}/bids`;
    const answer = await fetch(url, {
      method: "POST",
      headers: {
        "content-type": "application/json",
        authorization: `Bearer ${token}`,
        "idempotency-key": key,
      },
      body: JSON.stringify({ amountMinor: START_MINOR }),
      signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS),
    });
    return answer.status === 201 || answer.status === 200
      ? true
      : `${answer.status} ${await answer.text()}`;
  });
  await waitFor("the viewer receives the bid", deadlineMs, async () =>
    stream.bids.includes(START_MINOR) ? true : "no bid_accepted yet",
  );
  stream.close();
  await waitFor("the bid is archived", deadlineMs, async () => {
    const auction = await read();
    const { activity, archive } = auction?.["status"] ?? {};
    const current = conditionOf(auction, "ArchiveCurrent");
    const isArchived =
      current?.status === "True" && activity?.bidsAccepted >= 1 && Boolean(archive?.archivedId);
    return isArchived ? true : `ArchiveCurrent: ${current?.message ?? "no condition yet"}`;
  });
  await cluster.remove(ref);
  await waitFor("the drain proves the archive, and the Auction is gone", deadlineMs, isGone);
}

const env = readEnv(HelmTestEnv);
const cluster = connectCluster();
try {
  await run(cluster, env.POD_NAMESPACE, Date.now() + env.TIMEOUT_SECONDS * 1_000);
  say("passed");
} catch (error) {
  say(`FAILED: ${(error as Error).message}`);
  say(`The Auction is kept: kubectl describe auction -n ${env.POD_NAMESPACE} ${NAME}`);
  process.exitCode = 1;
} finally {
  await cluster.close();
}
