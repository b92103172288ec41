import { writeFileSync } from "node:fs";
import { expect, test } from "vitest";
import { rulesHashOf } from "../store/define-lots.ts";
import { readAuction, readLots } from "../store/lots.ts";
import { startNats } from "../testing/servers.ts";
import { until } from "../testing/until.ts";
import { AuctionUnderTest, callerOf, metric, startServers, stateOf } from "../testing/archival.ts";
import type { Archival } from "./app.ts";
import { migrate } from "./postgres/migrate.ts";

const servers = await startServers();

const giveRules = (auction: AuctionUnderTest, archival: Archival, definition: object) =>
  callerOf(archival, () => auction.token("admin"))("POST", "rules", definition);

test("several processes that migrate at once, and again, apply each migration once", async () => {
  const { archive } = new AuctionUnderTest(servers);
  const done = await Promise.all(Array.from({ length: 4 }, () => migrate(archive)));
  expect(done.flat()).toEqual([
    "events-and-what-they-make",
    "the-end-of-an-auction",
    "dead-letters-end",
  ]);
  expect(await migrate(archive)).toEqual([]);

  const edited = "update schema_migrations set hash = $1 where version = 1";
  const { rows } = await archive.query("select hash from schema_migrations where version = 1");
  await archive.query(edited, ["another"]);
  await expect(migrate(archive)).rejects.toThrow(/was edited after it was applied/);
  await archive.query(edited, [rows[0].hash]);
});

test("the internal port serves bids, results and the state", async () => {
  const auction = new AuctionUnderTest(servers);
  const archival = await auction.start();
  const ask = async (path: string, init?: RequestInit) => {
    const response = await fetch(`${archival.internalUrl}/internal/v1/${path}`, init);
    return { status: response.status, body: (await response.json()) as Record<string, unknown> };
  };
  const post = async (scope: string) => ({
    method: "POST",
    headers: { authorization: `Bearer ${await auction.token(scope)}` },
  });
  await auction.connected();
  await until("it is defined", () => readAuction(auction.store, auction.keys));
  expect((await ask("open", { method: "POST" })).status).toBe(401);
  expect((await ask("open", await post("bid"))).body).toMatchObject({ code: "forbidden" });
  const opened = await ask("open", await post("admin"));
  expect(opened.status).toBe(200);
  expect((await ask("open", await post("admin"))).body).toEqual(opened.body);

  const bidIds = await auction.bid(6, 2);
  await auction.expectAllArchived();
  const ofLot = [6, 0].flatMap((at) => [bidIds[at + 1], bidIds[at]]);
  const first = (await ask("lots/lot-1/bids?limit=3")).body as { bids: never; nextCursor: string };
  expect(first.bids).toMatchObject(ofLot.slice(0, 3).map((bidId) => ({ bidId })));
  const rest = await ask(`lots/lot-1/bids?limit=3&before=${first.nextCursor}`);
  expect(rest.body).toMatchObject({ bids: [{ bidId: ofLot[3] }], nextCursor: null });
  expect((await ask("lots/lot-1/bids?before=x")).body).toMatchObject({ code: "invalid" });
  expect((await ask("lots/LOT/bids")).body).toMatchObject({ code: "invalid", field: "lotId" });
  expect((await ask("lots/lot-1/result")).body).toMatchObject({ code: "not_found", status: 404 });

  const stored = (await readAuction(auction.store, auction.keys))!;
  expect(await stateOf(archival)).toMatchObject({
    phase: "serving",
    active: true,
    redis: true,
    nats: true,
    postgres: true,
    rulesHash: stored.rulesHash,
    opensAtMs: stored.opensAtMs,
    pendingBytes: 0,
    archiveLagMs: 0,
    deadLetters: 0,
  });
  await until("the gauges are read", async () => {
    return (await metric(archival, "gavel_archival_watermark_age_seconds")) > 0;
  });
  expect(await metric(archival, "gavel_archival_lease_held")).toBe(1);
});

test("how a lot ended is archived when it closes", async () => {
  const auction = new AuctionUnderTest(servers);
  const definition = auction.definition();
  const [first, ...others] = definition.lots;
  const lots = [{ ...first!, lastsMs: 2_000 }, ...others];
  writeFileSync(auction.file("rules"), JSON.stringify({ ...definition, lots }));
  const archival = await auction.start();
  await auction.open();
  const [, winning] = await auction.bid(1, 2);
  const result = await until("the result is archived", async () => {
    await auction.passTime();
    const answer = await fetch(`${archival.internalUrl}/internal/v1/lots/lot-1/result`);
    return answer.ok && ((await answer.json()) as object);
  });
  expect(result).toMatchObject({
    lotId: "lot-1",
    outcome: "sold",
    bidId: winning,
    amountMinor: 20,
  });
  await auction.expectAllArchived();
});

test("a store emptied before anything was archived gets the auction under a higher epoch", async () => {
  const auction = new AuctionUnderTest(servers);
  const archival = await auction.start();
  await auction.connected();
  await until("it is defined", async () => (await stateOf(archival)).phase === "serving");
  await archival.stop();
  await auction.wipe();
  await auction.start();
  await auction.open();
  expect((await readAuction(auction.store, auction.keys))!.epoch).toBe(2);
  await auction.bid(6);
  await auction.expectAllArchived();
});

test("rules changed after the opening are refused, and the tier goes on with the store's", async () => {
  const auction = new AuctionUnderTest(servers);
  const archival = await auction.start();
  await auction.open();
  await archival.stop();
  const lots = auction.definition().lots.map((lot) => ({ ...lot, startMinor: 1_000_000 }));
  writeFileSync(auction.file("rules"), JSON.stringify({ ...auction.definition(), lots }));
  await auction.start();
  await auction.bid(6);
  await auction.expectAllArchived();
  const stored = (await readAuction(auction.store, auction.keys))!;
  const [lot] = await readLots(auction.store, auction.keys, stored, ["lot-1"]);
  expect(lot!.startMinor).toBe(1);
});

test("rules that change while the process starts are not lost", async () => {
  const auction = new AuctionUnderTest(servers);
  const starting = auction.start();
  auction.writeRules({ ...auction.definition(), title: "changed" }); // the file was read once by now
  await starting;
  await auction.connected();
  const changed = rulesHashOf({ ...auction.definition(), title: "changed" });
  await until("the change is applied", async () => {
    return (await readAuction(auction.store, auction.keys))?.rulesHash === changed;
  });
});

test("rules given while the start is repeated are not overwritten by those of the start", async () => {
  const auction = new AuctionUnderTest(servers);
  await migrate(auction.archive);
  const blocking = await auction.archive.pool.connect();
  try {
    await blocking.query("begin; lock table public.auctions in share mode");
    const archival = await auction.start();
    const attempt = await until("the start writes to Postgres", async () => {
      const { rows } = await auction.archive.query<{ pid: number }>(
        "select pid from pg_stat_activity where wait_event_type = 'Lock' and query like '%insert into public.auctions%'",
      );
      return rows[0];
    });
    const given = giveRules(auction, archival, { ...auction.definition(), suspended: true });
    for (let i = 0; i < 5; i++) await stateOf(archival); // by now the rules wait for the attempt to end
    await auction.archive.query("select pg_terminate_backend($1)", [attempt.pid]);
    await blocking.query("commit");
    expect((await given).status).toBe(200);
    await until("it has started", async () => (await stateOf(archival)).phase === "serving");
    expect((await stateOf(archival)).suspended).toBe(true);
  } finally {
    blocking.release(true);
  }
});

test("an older definition never replaces a newer one, whoever gives it", async () => {
  const auction = new AuctionUnderTest(servers);
  const older = { ...auction.definition(), generation: 3 };
  const newer = { ...older, generation: 4, suspended: true };
  auction.writeRules(older);
  const first = await auction.start();
  await until("it has started", async () => (await stateOf(first)).phase === "serving");
  expect((await giveRules(auction, first, newer)).status).toBe(200);
  expect((await giveRules(auction, first, older)).status).toBe(409);
  await first.stop();

  await auction.connected();
  // The file of a pod may lag behind. Redis lost an auction of which nothing was archived, too.
  for (const before of [() => {}, () => auction.wipe()]) {
    await before();
    const archival = await auction.start();
    await until("it has started", async () => (await stateOf(archival)).phase === "serving");
    expect(await stateOf(archival)).toMatchObject({
      rulesHash: rulesHashOf(newer),
      suspended: true,
      refusedRules: null,
    });
    await archival.stop();
  }
  const saved = "select rules->>'generation' from auctions where auction_uid = $1";
  expect(await auction.column(saved)).toEqual(["4"]);
  const last = await auction.start();
  auction.writeRules({ ...older, generation: 5 });
  await until("it goes on", async () => {
    const { suspended, rulesHash } = await stateOf(last);
    return rulesHash === rulesHashOf(older) && !suspended;
  });

  // An operator of an earlier version sends no generation: nothing is compared.
  const { generation: _, ...uncounted } = { ...older, suspended: true };
  expect((await giveRules(auction, last, uncounted)).status).toBe(200);
  expect((await stateOf(last)).suspended).toBe(true);
  expect(await auction.column(saved)).toEqual(["0"]);
});

test("a rules file that is wrong, or of another auction, stops the process with its name", async () => {
  const auction = new AuctionUnderTest(servers);
  for (const [text, why] of [
    ["{", /rules file .*rules: .*JSON/],
    [JSON.stringify({ ...auction.definition(), uid: "other" }), /it is of auction other/],
    [JSON.stringify({ ...auction.definition(), currency: "euro" }), /\/currency/],
    [JSON.stringify({ ...auction.definition(), lots: [] }), /\/lots/],
  ] as const) {
    writeFileSync(auction.file("rules"), text);
    await expect(auction.start()).rejects.toThrow(why);
  }
});

test("a wrong URL, a rejected password and wrong TLS are named for each store, and never the URL", async () => {
  const owner = new AuctionUnderTest(servers);
  await migrate(owner.archive);
  await owner.connected();
  await owner.store.config("SET", "requirepass", "right");
  const nats = await startNats([`authorization { user: "gavel", password: "right" }`]);
  const withPassword = (url: string, password: string) => {
    const changed = new URL(url);
    Object.assign(changed, { username: changed.username || "gavel", password });
    if (changed.protocol === "redis:") changed.username = "default";
    return changed.href;
  };
  const right = {
    redis: withPassword(servers.redis.url, "right"),
    nats: withPassword(nats.url, "right"),
    postgres: servers.postgres.url,
  };
  const auction = new AuctionUnderTest(servers);
  const give = (urls: object) => {
    for (const [store, url] of Object.entries(urls)) writeFileSync(auction.file(store), url);
  };
  give({ redis: "wr0ng host", nats: "wr0ng", postgres: "http://wr0ng/" });
  const archival = await auction.start();
  const named = async (expected: Record<string, RegExp>) => {
    const why = await until(`all of ${Object.keys(expected).join(", ")} are named`, async () => {
      const ready = await fetch(`${archival.internalUrl}/readyz`);
      const text = JSON.stringify([await ready.text(), (await stateOf(archival)).refusals]);
      expect(text).not.toContain("wr0ng");
      return Object.values(expected).every((each) => each.test(text)) && !ready.ok && text;
    });
    expect(why).toMatch(/refuses/);
  };
  try {
    await named({
      redis: /redis refuses: REDIS_URL_FILE: .* not contain a URL like redis:.*: write one/,
      nats: /nats refuses: NATS_URL_FILE: .* not contain a URL like nats:.*: write one/,
      postgres: /postgres refuses: POSTGRES_URL_FILE: .* not contain a URL like postgres:.*: write/,
    });
    give({
      redis: withPassword(right.redis, "wr0ng"),
      nats: withPassword(nats.url, "wr0ng"),
      postgres: `${right.postgres}?sslmode=require`,
    });
    await named({
      redis: /redis refuses: WRONGPASS .*: put the right user and password .* REDIS_URL_FILE/,
      nats: /nats refuses: Authorization Violation: put the right .* NATS_URL_FILE/,
      postgres: /postgres refuses: .* does not support SSL .* POSTGRES_URL_FILE must ask for TLS/,
    });
    give({ nats: right.nats.replace("nats:", "tls:"), postgres: right.postgres });
    await named({ nats: /nats refuses: .*'tls': the URL in NATS_URL_FILE must ask for TLS/ });
    give(right);
    await until("it is ready", async () => (await fetch(`${archival.internalUrl}/readyz`)).ok);
    await until("all serve", async () => {
      return Object.keys((await stateOf(archival)).refusals).length === 0;
    });
    // A server without TLS does not answer the handshake: it may as well hang, so this is not a refusal.
    const away = new AuctionUnderTest(servers);
    writeFileSync(away.file("redis"), right.redis.replace("redis:", "rediss:"));
    const { internalUrl } = await away.start();
    await until("readiness says what to check", async () => {
      const text = await (await fetch(`${internalUrl}/readyz`)).text();
      return /Redis does not answer: .* REDIS_URL_FILE: .* rediss:/.test(text);
    });
  } finally {
    await owner.store.config("SET", "requirepass", "");
  }
});

test("a role without CREATE and a rejected password of Postgres are named, with what to do and never the password", async () => {
  const owner = new AuctionUnderTest(servers);
  await owner.archive.pool.query("create database bare");
  await owner.archive.pool.query("create role poor login password 'r1ght'");
  for (const [password, expected] of [
    ["r1ght", /42501: permission denied.*: grant the user in POSTGRES_URL_FILE CREATE/],
    ["wr0ng", /28P01: .*: put the right user and password into the URL in POSTGRES_URL_FILE/],
  ] as const) {
    const auction = new AuctionUnderTest(servers);
    const url = new URL(servers.postgres.url);
    Object.assign(url, { username: "poor", password, pathname: "/bare" });
    writeFileSync(auction.file("postgres"), url.href);
    const archival = await auction.start();
    const why = await until("it is named", async () => {
      const ready = await fetch(`${archival.internalUrl}/readyz`);
      const text = await ready.text();
      return ready.status === 503 && text.includes("postgres refuses") && text;
    });
    expect(why).toMatch(expected);
    const { refusals } = await stateOf(archival);
    expect(refusals.postgres).toMatch(expected);
    expect(JSON.stringify([why, refusals])).not.toContain(password);
    await archival.stop();
  }
});

test("a tier that starts before its stores waits for them", async () => {
  const auction = new AuctionUnderTest(servers);
  await Promise.all([servers.nats.kill(), servers.postgres.kill()]);
  await (await auction.start()).stop();
  const archival = await auction.start();
  await until("Redis answers", async () => (await fetch(`${archival.internalUrl}/readyz`)).ok);
  expect(await stateOf(archival)).toMatchObject({
    phase: "starting",
    nats: false,
    postgres: false,
  });
  await servers.postgres.restart();
  await until("Postgres answers", async () => (await stateOf(archival)).postgres);
  await auction.connected();
  expect(await readAuction(auction.store, auction.keys)).toBeNull();
  const impatient = await auction.start();
  await until("Postgres answers", async () => (await stateOf(impatient)).postgres);
  await impatient.stop();
  await servers.nats.restart();
  await auction.open();
  await auction.bid(6);
  await auction.expectAllArchived();
});
