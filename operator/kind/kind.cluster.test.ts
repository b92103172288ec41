/**
 * An Auction on a real cluster: `kubectl apply`, bids through its Services, and faults and upgrades while it
 * is open. Each test continues where the previous one stopped.
 */
import { randomUUID } from "node:crypto";
import { expect, test, vi } from "vitest";
import { connectViewer } from "../../services/testing/viewer.ts";
import { until } from "../../services/testing/until.ts";
import type { AuctionResource } from "../api/auction-resource.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import { readAuctionFile } from "../local/auction-file.ts";
import type { KindCluster } from "./kind-cluster.ts";
import { OPERATOR_NAMESPACE, RELEASE } from "../install/chart.ts";
import { installOperator } from "./install-operator.ts";
import { runProgram } from "../../servers/run-program.ts";
import { applyAuction, waitUntilReady } from "./sample-auction.ts";
import { bidderTokenOn } from "./summary.ts";
import { askArchive, forward, kindEnv, onKind, operatorOnKind } from "../testing/kind.ts";

const NAMESPACE = "gavel-e2e";
let NAME = "spring-sale";
const FILE = "manifests/samples/spring-sale.yaml";
const MINUTE_MS = 60_000;

vi.setConfig({ testTimeout: 5 * MINUTE_MS });

let cluster: KindCluster;
let image: string;
let auction: AuctionResource;
let gateway: string;
let stream: string;
let token: string;
let amountMinor = 12_000;

const kubectl = (...args: string[]) => cluster.kubectl(["-n", NAMESPACE, ...args]);
const json = async <T>(...args: string[]) => JSON.parse(await kubectl(...args, "-o", "json")) as T;
const read = () => json<StoredAuction>("get", "auction", NAME);
const patch = (body: object) =>
  kubectl("patch", "auction", NAME, "--type=merge", "-p", JSON.stringify(body));
const conditionOf = async (type: string) =>
  (await read()).status?.conditions?.find((condition) => condition.type === type);

/** Names of the pods of a tier or store, with their uids: a replaced pod has another. */
async function podsOf(component: string): Promise<string[]> {
  const selector = `gavel.dev/name=${NAME},gavel.dev/component=${component}`;
  const { items } = await json<{ items: { metadata: { uid: string; name: string } }[] }>(
    "get",
    "pods",
    "-l",
    selector,
  );
  return items.map(({ metadata }) => `${metadata.name} ${metadata.uid}`).sort();
}

const allPods = async () =>
  (
    await Promise.all(["gateway", "broadcast", "archival", "redis", "nats", "postgres"].map(podsOf))
  ).flat();

const leadingOperator = (): Promise<string> =>
  cluster.kubectl([
    "get",
    "lease",
    RELEASE,
    "-n",
    OPERATOR_NAMESPACE,
    "-o",
    "jsonpath={.spec.holderIdentity}",
  ]);

async function bid(
  lotId = "oak-table",
): Promise<{ status: number; body: Record<string, unknown> }> {
  amountMinor += 5_000;
  const response = await fetch(`${gateway}/v1/lots/${lotId}/bids`, {
    method: "POST",
    headers: {
      authorization: `Bearer ${token}`,
      "content-type": "application/json",
      "idempotency-key": randomUUID(),
    },
    body: JSON.stringify({ amountMinor }),
    signal: AbortSignal.timeout(5_000),
  });
  return { status: response.status, body: (await response.json()) as Record<string, unknown> };
}

/** Places one bid after the other until it is stopped. Keeps the answers that were not accepted. */
function keepBidding() {
  let running = true;
  const failed: unknown[] = [];
  let accepted = 0;
  const loop = (async () => {
    while (running) {
      const answer = await bid("brass-telescope").catch((error: Error) => ({
        status: 0,
        body: { error: error.message },
      }));
      if (answer.status === 201) accepted++;
      else failed.push(answer);
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  })();
  const stop = async () => {
    running = false;
    await loop;
    return { accepted, failed };
  };
  return { stop, accepted: () => accepted };
}

const archived = (): Promise<string> =>
  askArchive(cluster, NAMESPACE, NAME, "select lot_id, amount_minor from bids");

async function forwardAll(): Promise<void> {
  gateway = `http://127.0.0.1:${await forward(cluster, NAMESPACE, `service/${NAME}-gateway`, 8080)}`;
  const port = await forward(cluster, NAMESPACE, `service/${NAME}-broadcast`, 8081);
  stream = `ws://127.0.0.1:${port}/v1/stream`;
}

const redisSecret = (password: string) => `
apiVersion: v1
kind: Secret
metadata: { name: my-redis }
stringData: { uri: "redis://:${password}@my-redis.${NAMESPACE}:6379" }
`;

const externalRedis = (password: string) => `${redisSecret(password)}---
apiVersion: v1
kind: Service
metadata: { name: my-redis }
spec: { selector: { app: my-redis }, ports: [{ port: 6379 }] }
---
apiVersion: v1
kind: Pod
metadata: { name: my-redis, labels: { app: my-redis } }
spec:
  securityContext: { runAsNonRoot: true, runAsUser: 999, seccompProfile: { type: RuntimeDefault } }
  containers:
    - name: redis
      image: ${kindEnv.REDIS_IMAGE}
      imagePullPolicy: IfNotPresent
      workingDir: /tmp
      command: [redis-server, --requirepass, ${password}, --appendonly, "yes", --appendfsync, always, --dir, /tmp]
      securityContext: { allowPrivilegeEscalation: false, capabilities: { drop: [ALL] } }
---
apiVersion: gavel.dev/v1alpha1
kind: Auction
metadata: { name: rotated }
spec:
  currency: EUR
  schedule: { lasts: 30m }
  lots: [{ id: a, startMinor: 100 }]
  backing: { redis: { mode: External, external: { secretRef: { name: my-redis } } } }
`;

onKind("on a real cluster", () => {
  test(
    "kubectl apply of the sample reaches Ready",
    async () => {
      ({ cluster, image } = await operatorOnKind());
      const file = readAuctionFile(FILE);
      if (!file.ok) throw new Error("the sample is wrong");
      ({ auction } = file);
      await cluster.kubectl(["delete", "namespace", NAMESPACE, "--ignore-not-found"]);
      await cluster.kubectl(["create", "namespace", NAMESPACE]);
      await cluster.kubectl([
        "label",
        "namespace",
        NAMESPACE,
        "pod-security.kubernetes.io/enforce=restricted",
      ]);
      await applyAuction(cluster, FILE, NAMESPACE);
      const said: string[] = [];
      await waitUntilReady(cluster, NAME, NAMESPACE, (line) => said.push(line), 4 * MINUTE_MS);
      await until(
        "the auction is open",
        async () => (await read()).status?.phase === "Open",
        MINUTE_MS,
      );
      token = await bidderTokenOn(cluster, auction, NAMESPACE, "alice");
      await forwardAll();
    },
    9 * MINUTE_MS,
  );

  test("a bid through the gateway's Service arrives at a viewer of the broadcast's, and in Postgres", async () => {
    const viewer = await connectViewer(stream);
    viewer.send({ type: "subscribe", lots: ["oak-table"] });
    await viewer.next("snapshot");
    const { status, body } = await bid();
    expect([status, body]).toMatchObject([201, { lotId: "oak-table", amountMinor }]);
    const frame = await viewer.next("bid_accepted");
    expect(frame).toMatchObject({ bidId: body["bidId"], amountMinor });
    viewer.close();
    const row = `oak-table|${amountMinor}`;
    await until("the bid is archived", async () => (await archived()).includes(row), MINUTE_MS);
  });

  test("kubectl get auc prints phase, lots, bids and close", async () => {
    await until(
      "the auction is listed as open",
      async () => (await kubectl("get", "auc")).includes("Open"),
      MINUTE_MS,
    );
    const shown = async () => (await kubectl("get", "auc")).trim().split("\n");
    const [head] = await shown();
    expect(head!.split(/\s+/)).toEqual(
      expect.arrayContaining(["NAME", "PHASE", "READY", "LOTS", "BIDS", "CLOSES", "ARCHIVED"]),
    );
    const row = /spring-sale\s+Open\s+True\s+0\/5\s+[1-9]\d*\s+\d{4}-\d\d-\d\dT[\d:]+Z\s+True/;
    await until("the bids are counted", async () => row.test((await shown())[1]!), MINUTE_MS);
  });

  test(
    "an open auction is scaled, and deleted objects are created again",
    async () => {
      const before = await podsOf("gateway");
      await patch({ spec: { tiers: { gateway: { replicas: 3 } } } });
      await until(
        "there are three gateways",
        async () => (await podsOf("gateway")).length === 3,
        MINUTE_MS,
      );
      expect(await podsOf("gateway")).toEqual(expect.arrayContaining(before));
      await kubectl("delete", "service", `${NAME}-broadcast-internal`);
      await kubectl("delete", "networkpolicy", "--all", "--wait=false");
      await until("the deleted objects exist again", async () => {
        const names = await kubectl("get", "services,networkpolicies", "-o", "name");
        return names.includes(`${NAME}-broadcast-internal`) && names.includes("networkpolicy");
      });
      await patch({ spec: { tiers: { gateway: { replicas: 2 } } } });
      await until(
        "there are two gateways",
        async () => (await podsOf("gateway")).length === 2,
        MINUTE_MS,
      );
      await forwardAll(); // The pod that the forwarding went to may be the one that left.
    },
    3 * MINUTE_MS,
  );

  test(
    "rules of an open auction are frozen, a withdrawal and a later close are applied",
    async () => {
      await expect(patch({ spec: { rules: { maxAmountMinor: 5_000_000 } } })).rejects.toThrow(
        /spec\.rules|frozen|Open/,
      );
      await patch({ spec: { withdrawnLots: ["gramophone"], schedule: { lasts: "40m" } } });
      await until(
        "the lot is withdrawn",
        async () => {
          const lot = await fetch(`${gateway}/v1/lots/gramophone`);
          return ((await lot.json()) as { status: string }).status === "withdrawn";
        },
        MINUTE_MS,
      );
      const published = async () => (await conditionOf("RulesPublished"))?.reason;
      await until(
        "the change is published",
        async () => (await published()) === "Acknowledged",
        MINUTE_MS,
      );
      const withdrawn = async () => (await read()).status?.lots?.withdrawn;
      await until("the withdrawal is counted", async () => (await withdrawn()) === 1, MINUTE_MS);
    },
    3 * MINUTE_MS,
  );

  test(
    "no bid fails while the operator is killed",
    async () => {
      const pods = await allPods();
      const leader = await leadingOperator();
      const bidding = keepBidding();
      await cluster.kubectl([
        "delete",
        "pods",
        "-n",
        OPERATOR_NAMESPACE,
        "--force",
        "--grace-period=0",
        "-l",
        "app.kubernetes.io/name=gavel-operator",
      ]);
      const hasNewLeader = async () => ![leader, ""].includes(await leadingOperator());
      await until("a new operator leads", hasNewLeader, 2 * MINUTE_MS);
      await until("bids go on", () => bidding.accepted() > 50);
      const { accepted, failed } = await bidding.stop();
      console.log(`operator killed: ${accepted} bids accepted, ${failed.length} failed`);
      expect(failed).toEqual([]);
      expect(await allPods()).toEqual(pods);
    },
    4 * MINUTE_MS,
  );

  test(
    "the operator is upgraded, and no pod of the open auction restarts",
    async () => {
      const pods = await allPods();
      const other = `${image}-next`;
      await runProgram("docker", ["tag", image, other]);
      await runProgram("kind", ["load", "docker-image", other, "--name", cluster.name]);
      const bidding = keepBidding();
      await installOperator(cluster, other, kindEnv);
      const pending = async () => (await conditionOf("UpdatePending"))?.status === "True";
      await until("the update is pending", pending, 2 * MINUTE_MS);
      const { accepted, failed } = await bidding.stop();
      console.log(`operator upgraded: ${accepted} bids accepted, ${failed.length} failed`);
      expect(failed).toEqual([]);
      expect(await allPods()).toEqual(pods);
    },
    6 * MINUTE_MS,
  );

  test(
    "a deletion while open proves the archive, then removes everything but the retained volume",
    async () => {
      expect((await bid()).status).toBe(201);
      const row = `oak-table|${amountMinor}`;
      await until("the bid is archived", async () => (await archived()).includes(row), MINUTE_MS);
      await kubectl("delete", "auction", NAME, "--timeout=180s");
      const events = await kubectl(
        "get",
        "events.events.k8s.io",
        "-o",
        "jsonpath={.items[*].reason}",
      );
      for (const step of ["StopIntake", "ArchiveVerified", "Cleanup"])
        expect(events).toContain(step);
      await until(
        "no object is left",
        async () => {
          const left = await kubectl(
            "get",
            "deploy,sts,svc,secret,hpa,pdb,netpol,pods",
            "-o",
            "name",
          );
          return left.trim() === `secret/${NAME}-postgres`;
        },
        2 * MINUTE_MS,
      );
      const claims = await kubectl("get", "pvc", "-o", "name");
      expect(claims.trim()).toBe(`persistentvolumeclaim/data-${NAME}-postgres-0`);
    },
    6 * MINUTE_MS,
  );

  test(
    "an External Redis: weak settings are reported, and a new password restarts no pod",
    async () => {
      NAME = "rotated";
      await cluster.kubectl(["apply", "-n", NAMESPACE, "-f", "-"], { input: externalRedis("one") });
      await waitUntilReady(cluster, NAME, NAMESPACE, () => {}, 4 * MINUTE_MS);
      await until(
        "the auction is open",
        async () => (await read()).status?.phase === "Open",
        MINUTE_MS,
      );
      token = await bidderTokenOn(
        cluster,
        { ...auction, metadata: { name: NAME } },
        NAMESPACE,
        "alice",
      );
      await forwardAll();
      const redis = (...words: string[]) =>
        kubectl("exec", "my-redis", "--", "redis-cli", "--no-auth-warning", ...words);
      const weak = async (status: string) => {
        const condition = await conditionOf("DurabilityWeak");
        return condition?.status === status ? condition : null;
      };
      await until("DurabilityWeak is False", () => weak("False"), MINUTE_MS);
      await redis("-a", "one", "CONFIG", "SET", "appendfsync", "everysec");
      const condition = await until("DurabilityWeak is True", () => weak("True"), MINUTE_MS);
      expect(condition.message).toContain("appendfsync=everysec");
      await redis("-a", "one", "CONFIG", "SET", "appendfsync", "always");

      const pods = await allPods();
      await redis("-a", "one", "ACL", "SETUSER", "default", ">two");
      const secretHash = (await read()).status?.backing?.redis?.secretHash;
      await cluster.kubectl(["apply", "-n", NAMESPACE, "-f", "-"], { input: redisSecret("two") });
      const [pod] = (await podsOf("gateway"))[0]!.split(" ");
      await until(
        "the pods have the new Secret",
        async () => {
          return (await kubectl("exec", pod!, "--", "cat", "/etc/gavel/redis/url")).includes("two");
        },
        3 * MINUTE_MS,
      );
      await until(
        "the status has the new Secret",
        async () => {
          return (await read()).status?.backing?.redis?.secretHash !== secretHash;
        },
        2 * MINUTE_MS,
      );
      await redis("-a", "two", "ACL", "SETUSER", "default", "<one");
      await redis("-a", "two", "CLIENT", "KILL", "TYPE", "normal");
      amountMinor = 1_000;
      await until(
        "bids are accepted with the new password",
        async () => (await bid("a")).status === 201,
        MINUTE_MS,
      );
      expect(await allPods()).toEqual(pods);
    },
    9 * MINUTE_MS,
  );

  test(
    "an Auction does not block the deletion of its namespace",
    async () => {
      await cluster.kubectl(["delete", "namespace", NAMESPACE, "--timeout=240s"]);
    },
    5 * MINUTE_MS,
  );
});
