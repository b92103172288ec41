/** `make up` on real servers: from a YAML file to an archived bid, through crashes and restarts. */
import { spawnSync } from "node:child_process";
import { existsSync, lstatSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { connect, createServer } from "node:net";
import { once } from "node:events";
import { networkInterfaces } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { addressesOf, hostInUrl } from "../../services/runtime/listen.ts";
import { listens } from "../../servers/ports.ts";
import { until } from "../../services/testing/until.ts";
import type { LotView } from "../../services/lot/view.ts";
import { startInstantOf } from "./process-record.ts";
import { UpSandbox, type RunningUp } from "../testing/up-sandbox.ts";

const SAMPLE = new URL("../../manifests/samples/spring-sale.yaml", import.meta.url).pathname;
const PROCESSES = ["redis", "nats", "postgres", "archival", "gateway", "broadcast"];

const sandbox = await UpSandbox.create();
/** The run of the sample. A test leaves it running for the next one, which starts it if it does not run. */
let shared: RunningUp | undefined;
sandbox.clearAfterFailures(() => (shared = undefined));

async function sharedRun(): Promise<RunningUp> {
  if (shared === undefined) {
    shared = sandbox.up(SAMPLE);
    await sandbox.ready(shared);
  }
  return shared;
}

async function lot(lotId: string): Promise<LotView> {
  return (await fetch(`${sandbox.gatewayUrl}/v1/lots/${lotId}`)).json() as Promise<LotView>;
}

async function auctionUid(): Promise<string> {
  const auction = (await (await fetch(`${sandbox.gatewayUrl}/v1/auction`)).json()) as {
    uid: string;
  };
  return auction.uid;
}

async function down(running: RunningUp): Promise<void> {
  shared = undefined;
  expect(sandbox.gavel(["down"])).toMatchObject({ status: 0 });
  expect(await running.ended).toBe(0);
  expect(readdirSync(sandbox.folder.runDir)).toEqual([]);
}

/** Every message of a viewer who watches one lot. */
async function watch(lotId: string): Promise<{ messages: Record<string, unknown>[] }> {
  const socket = new WebSocket(sandbox.streamUrl);
  const messages: Record<string, unknown>[] = [];
  socket.addEventListener("message", ({ data }) => {
    messages.push(JSON.parse(String(data)) as Record<string, unknown>);
  });
  await new Promise((resolve) => socket.addEventListener("open", resolve));
  socket.send(JSON.stringify({ type: "subscribe", lots: [lotId] }));
  await until("the viewer has a snapshot", () => messages.some(({ type }) => type === "snapshot"));
  return { messages };
}

/** No other user of this machine can read anything in the folder. */
function expectPrivate(path: string): void {
  const open = readdirSync(path, { recursive: true, withFileTypes: true })
    .map((entry) => join(entry.parentPath, entry.name))
    .filter((file) => !lstatSync(file).isSymbolicLink() && (statSync(file).mode & 0o066) !== 0);
  expect(open).toEqual([]);
  expect(statSync(path).mode & 0o066).toBe(0);
}

test("a bid over HTTP is shown on the stream and archived, and a second run continues the auction", async () => {
  const first = await sharedRun();
  expect(first.output()).toContain(sandbox.env["GATEWAY_PORT"]);
  expectPrivate(sandbox.folder.path);
  const uid = await auctionUid();
  for (const address of addressesOf("localhost").map(hostInUrl)) {
    const page = await fetch(`http://${address}:${sandbox.env["GATEWAY_PORT"]}/`);
    const stream = await fetch(`http://${address}:${sandbox.env["BROADCAST_PORT"]}/v1/stream`);
    expect([address, page.status, stream.status]).toEqual([address, 200, 426]);
  }
  const viewer = await watch("oak-table");

  expect((await sandbox.bid("oak-table", 12_000, "alice")).status).toBe(201);
  await until("the viewer sees the bid", () =>
    viewer.messages.find(
      ({ type, bidderId, amountMinor }) =>
        type === "bid_accepted" && bidderId === "alice" && amountMinor === 12_000,
    ),
  );
  const Q = "select bidder_id, amount_minor from bids";
  await until("the archive has the bid", async () => (await sandbox.query(Q)).length > 0);
  expect(sandbox.gavel(["sql"], { Q }).stdout).toMatch(/alice\s+12000\n\(1 row\)/);
  expect(sandbox.gavel(["sql", "delete from bids"]).stderr).toContain("read-only");
  for (const Q of [
    "copy (select 1) to program 'touch /tmp/gavel-was-run'",
    "select pg_read_file('/etc/hostname')",
    "select rolpassword from pg_authid",
    "select lo_import('/etc/hostname')",
    "set role gavel",
  ]) {
    const refused = sandbox.gavel(["sql"], { Q });
    expect([refused.status, refused.stderr], Q).toEqual([
      1,
      expect.stringMatching(/permission denied|must be superuser/),
    ]);
  }
  expect(existsSync("/tmp/gavel-was-run")).toBe(false);
  const role =
    "select rolsuper, rolcreaterole, rolcreatedb from pg_roles where rolname = current_user";
  expect(sandbox.gavel(["sql"], { Q: role }).stdout).toMatch(/false\s+false\s+false/);
  expect(sandbox.gavel(["sql"], { Q: "show statement_timeout" }).stdout).toContain("30s");
  const status = sandbox.gavel(["status"]);
  expect(status.status).toBe(0);
  expect(status.stdout).toMatch(/oak-table\s+open\s+1\s+120\.00\s+alice/);

  const again = sandbox.up(SAMPLE);
  expect(await again.ended).toBe(1);
  expect(again.output()).toContain("already runs");
  await down(first);

  const second = await sharedRun();
  expect(second.output()).toContain("continues where it stopped");
  expect(await auctionUid()).toBe(uid);
  expect(await lot("oak-table")).toMatchObject({
    leadingBid: { bidderId: "alice", amountMinor: 12_000 },
  });
}, 240_000);

test("after a SIGKILL of make up, the next one stops the orphaned processes and continues", async () => {
  const killed = await sharedRun();
  const uid = await auctionUid();
  const { minimumMinor } = await lot("blue-vase");
  expect((await sandbox.bid("blue-vase", minimumMinor, "bob")).status).toBe(201);
  const orphans = PROCESSES.map((name) => sandbox.pidOf(name));
  shared = undefined;
  killed.kill("SIGKILL");
  await killed.ended;
  expect(orphans.filter((pid) => startInstantOf(pid) === null)).toEqual([]);

  const next = await sharedRun();
  expect(next.output()).toContain("left behind by an earlier run");
  expect(orphans.filter((pid) => startInstantOf(pid) !== null)).toEqual([]);
  expect(await auctionUid()).toBe(uid);
  expect(await lot("blue-vase")).toMatchObject({ leadingBid: { bidderId: "bob" } });
}, 240_000);

test.each(PROCESSES)(
  "a run restarts its %s after a SIGKILL",
  async (name) => {
    const running = await sharedRun();
    const pid = sandbox.pidOf(name);
    process.kill(pid, "SIGKILL");
    await until(`${name} restarted`, () => running.output().includes(`${name} restarted`));
    expect(sandbox.pidOf(name)).not.toBe(pid);
    await until("bids are taken", async () => {
      const { minimumMinor } = await lot("gramophone");
      return (await sandbox.bid("gramophone", minimumMinor, "carol")).status === 201;
    });
  },
  120_000,
);

test("a Redis that was wiped while stopped is restored by the next make up, and by gavel restore", async () => {
  const first = await sharedRun();
  const uid = await auctionUid();
  const { minimumMinor } = await lot("brass-telescope");
  expect((await sandbox.bid("brass-telescope", minimumMinor, "dora")).status).toBe(201);
  const dora = "select 1 from bids where bidder_id = 'dora'";
  await until("the archive has the bid", async () => (await sandbox.query(dora)).length === 1);
  await down(first);
  expect(sandbox.gavel(["restore"])).toMatchObject({ status: 3 });
  rmSync(sandbox.folder.storeDir("redis"), { recursive: true });

  const second = await sharedRun();
  expect(await auctionUid()).toBe(uid);
  const leading = { bidderId: "dora", amountMinor: minimumMinor };
  expect(await lot("brass-telescope")).toMatchObject({ epoch: 2, leadingBid: leading });

  expect(sandbox.gavel(["restore"], { YES: "1" })).toMatchObject({ status: 1 });
  expect(sandbox.gavel(["restore", "--force"]).stdout).toContain("Nothing was restored");
  expect(sandbox.gavel(["restore", "--now"])).toMatchObject({ status: 2 });
  const byTier = sandbox.gavel(["restore", "--force"], { YES: "1" });
  expect([byTier.status, byTier.stderr]).toEqual([0, ""]);
  expect(byTier.stdout).toMatch(/Restored.* lots, epoch 3/);
  expect(await lot("brass-telescope")).toMatchObject({ epoch: 3, leadingBid: leading });
  expect((await sandbox.bid("brass-telescope", minimumMinor * 2, "emil")).status).toBe(201);
  await down(second);
}, 240_000);

const SHORT = `
apiVersion: gavel.dev/v1alpha1
kind: Auction
metadata: { name: short }
spec:
  currency: EUR
  schedule: { lasts: 12s }
  rules: { antiSniping: { window: 0s } }
  lots: [{ id: vase, startMinor: 100 }]
`;

test("an auction whose closing time passed while it was stopped is settled, and a new one starts", async () => {
  const file = sandbox.write("short.yaml", SHORT);
  const first = sandbox.up(file);
  await sandbox.ready(first);
  const uid = await auctionUid();
  expect((await sandbox.bid("vase", 100, "alice")).status).toBe(201);
  first.kill("SIGTERM");
  expect(await first.ended).toBe(0);
  const closesAtMs = Date.now() + 12_000;
  await until("its time has passed", () => Date.now() > closesAtMs);

  const second = sandbox.up(file);
  await sandbox.ready(second);
  expect(second.output()).toMatch(/short has ended; starting a new auction/);
  expect(await auctionUid()).not.toBe(uid);
  const Q = `select lot_id, outcome, bidder_id, amount_minor from results where auction_uid = '${uid}'`;
  expect(sandbox.gavel(["sql"], { Q }).stdout).toMatch(/vase\s+sold\s+alice\s+100\n\(1 row\)/);
  await down(second);
}, 240_000);

/** A store's answer to a client without a password. */
const greet = async (port: string, request: string): Promise<string> => {
  const socket = connect({ host: "127.0.0.1", port: Number(port) });
  let text = "";
  socket.on("data", (data) => (text += data.toString()));
  socket.write(request);
  await until("it answers", () => /NOAUTH|Authorization Violation|PONG/.test(text));
  socket.destroy();
  return text;
};

test("DETACH=1 returns when the auction is ready, and make down stops it; only the two public ports are open to other machines, and the stores ask for passwords", async () => {
  const parent = sandbox.up(SAMPLE, { DETACH: "1", LISTEN_HOST: "0.0.0.0" });
  expect(await parent.ended).toBe(0);
  const { env, folder } = sandbox;
  const own = Object.values(networkInterfaces()).flat();
  const address = own.find((one) => one?.family === "IPv4" && !one.internal)?.address;
  if (address !== undefined) {
    const variables = Object.keys(env).filter((name) => name.endsWith("_PORT"));
    const open = await Promise.all(
      variables.map(async (name) => ((await listens(address, Number(env[name]))) ? [name] : [])),
    );
    expect(open.flat().sort()).toEqual(["BROADCAST_PORT", "GATEWAY_PORT"]);
  }
  expect(await greet(env["REDIS_PORT"]!, "PING\r\n")).toContain("NOAUTH");
  const hello = 'CONNECT {"verbose":false}\r\nPING\r\n';
  expect(await greet(env["NATS_PORT"]!, hello)).toContain("Authorization Violation");
  const { stdout: processes } = spawnSync("ps", ["-eo", "args"], { encoding: "utf8" });
  for (const file of readdirSync(join(folder.path, "secrets"))) {
    const secret = readFileSync(join(folder.path, "secrets", file), "utf8").trim();
    expect(processes.includes(secret), file).toBe(false);
  }
  const pipe = `"$0" "$1" status | head -n 1`;
  const headed = spawnSync("sh", ["-c", pipe, process.execPath, sandbox.cli], {
    encoding: "utf8",
    env: { ...process.env, ...env },
  });
  expect([headed.stdout.split("\n").length, headed.stderr]).toEqual([2, ""]);
  expect(parent.output()).toContain("the next make up continues the auction");
  expect(sandbox.gavel(["reset"], { YES: "1" })).toMatchObject({ status: 1 });
  expect(sandbox.gavel(["down"]).stdout).toContain("stopped");
  expect(sandbox.gavel(["status"]).status).toBe(3);
}, 240_000);

test("a port in use is reported with its variable and its process, and nothing stays running", async () => {
  const server = createServer().listen(Number(sandbox.env["NATS_PORT"]), "127.0.0.1");
  await once(server, "listening");
  const running = sandbox.up(SAMPLE);
  expect(await running.ended.finally(() => server.close())).toBe(1);
  const port = sandbox.env["NATS_PORT"];
  expect(running.output()).toMatch(
    new RegExp(`^port ${port} is in use by .+ \\(pid ${process.pid}\\): .* NATS_PORT `, "m"),
  );
  expect(readdirSync(sandbox.folder.runDir)).toEqual([]);
});

const WRONG = `
apiVersion: gavel.dev/v1
kind: Auction
metadata: { name: Wrong Name }
spec:
  currency: euro
  minorUnitDigits: 9
  sale: {}
  schedule: { lasts: 30 minutes, lotStagger: 2h }
  rules:
    increments: [{ fromMinor: 5, stepMinor: 100 }]
    antiSniping: { window: 2m, extension: 0s }
    reserveDisclosure: Maybe
  lots:
    - { id: a, startMinor: 12.5 }
    - { id: b, startMinor: 100, reserveMinor: 50 }
    - { id: b, startMinor: "100" }
`;

test("fourteen mistakes in a YAML are all reported with their lines, and nothing starts", async () => {
  const empty = await UpSandbox.create();
  const file = empty.write("wrong.yaml", WRONG);
  const running = empty.up(file);
  expect(await running.ended).toBe(1);
  const lines = running.output().trim().split("\n").slice(1);
  const reported = lines.map((line) => /:(\d+) +(\S+): /.exec(line)?.slice(1).join(" "));
  expect(reported.sort()).toEqual(
    [
      "2 apiVersion",
      "4 metadata.name",
      "6 spec.currency",
      "7 spec.minorUnitDigits",
      "8 spec.sale",
      "9 spec.schedule.lasts",
      "9 spec.schedule.lotStagger",
      "11 spec.rules.increments",
      "12 spec.rules.antiSniping.extension",
      "13 spec.rules.reserveDisclosure",
      "15 spec.lots[0].startMinor",
      "16 spec.lots[1].reserveMinor",
      "17 spec.lots[2].id",
      "17 spec.lots[2].startMinor",
    ].sort(),
  );
  expect(existsSync(empty.folder.path)).toBe(false);
});

test("make reset deletes everything that make up made, and nothing else", () => {
  expect(sandbox.gavel(["reset"]).status).toBe(1);
  expect(existsSync(sandbox.folder.path)).toBe(true);
  const other = sandbox.write("keep.txt", "mine");
  expect(sandbox.gavel(["reset"], { YES: "1", GAVEL_DIR: sandbox.root }).status).toBe(1);
  expect(existsSync(other)).toBe(true);
  expect(sandbox.gavel(["reset"], { YES: "1" }).status).toBe(0);
  expect(existsSync(sandbox.folder.path)).toBe(false);
  expect(existsSync(join(sandbox.root, "keep.txt"))).toBe(true);
});
