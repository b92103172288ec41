/** Passwords change under running tiers: they go on by the files that name the new ones. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, test } from "vitest";
import { afterFile } from "../testing/after-file.ts";
import { startOne } from "../testing/broadcast.ts";
import { AuctionUnderTest, startServers } from "../testing/archival.ts";
import { SECRET, startTestGateway, tokenOf } from "../testing/gateway.ts";
import { until } from "../testing/until.ts";
import { connectStore } from "../store/connect.ts";
import { signToken } from "../access/tokens.ts";

const servers = await startServers();
const dir = mkdtempSync(join(tmpdir(), "gavel-secrets-"));
afterFile(() => rmSync(dir, { recursive: true, force: true }));

const withPassword = (url: string, password: string) => {
  const changed = new URL(url);
  changed.password = password;
  return changed.href;
};

test("Redis gets a password, and then another one, and bids go on", async () => {
  const auction = new AuctionUnderTest(servers);
  const archival = await auction.start();
  await auction.open();
  const file = join(dir, "redis");
  writeFileSync(file, servers.redis.url);
  const scripted = await startTestGateway(servers.redis.url, auction.uid, { REDIS_URL_FILE: file });
  const optimistic = await startTestGateway(servers.redis.url, auction.uid, {
    REDIS_URL_FILE: file,
    BID_STRATEGY: "optimistic",
    BID_DURABILITY: "local",
  });
  const broadcast = await startOne(servers.redis.url, auction.uid, {
    REDIS_URL_FILE: file,
  });
  let amountMinor = 0;
  const bidsGoOn = async () => {
    for (const gateway of [scripted, optimistic]) {
      await until("a bid is accepted", async () => {
        return (await gateway.bid("lot-1", (amountMinor += 10))).status === 201;
      });
    }
    await until(
      "broadcast is ready",
      async () => (await fetch(`${broadcast.internalUrl}/readyz`)).ok,
    );
  };
  const readinessNames = async (cause: RegExp) => {
    for (const { internalUrl } of [scripted, optimistic, broadcast]) {
      await until(`readiness names ${cause}`, async () => {
        const ready = await fetch(`${internalUrl}/readyz`);
        const text = await ready.text();
        expect(text).not.toContain("wr0ng");
        return ready.status === 503 && cause.test(text);
      });
    }
  };
  await bidsGoOn();

  const owner = connectStore(servers.redis.url, "owner");
  owner.on("error", () => {});
  await owner.connect();
  for (const password of ["first", "second"]) {
    await owner.config("SET", "requirepass", password);
    // Every connection but the owner's, as a restart or a failover would.
    await owner.call("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes");
    await until("the old one is refused", async () => {
      return (await scripted.bid("lot-1", amountMinor)).status === 503;
    });
    await readinessNames(/(NOAUTH|WRONGPASS) .*the URL in REDIS_URL_FILE/);
    writeFileSync(file, "wr0ng url");
    await readinessNames(/REDIS_URL_FILE: .* does not contain a URL like redis:.*: write one/);
    for (const path of [file, auction.file("redis")]) {
      writeFileSync(path, withPassword(servers.redis.url, password));
    }
    await bidsGoOn();
    await until("archival is active", async () => {
      const answer = await fetch(`${archival.internalUrl}/internal/v1/invariants?archive=current`);
      return answer.ok;
    });
  }
  await owner.config("SET", "requirepass", "");
  owner.disconnect();
});

test("Postgres's password changes, and the archive goes on", async () => {
  const auction = new AuctionUnderTest(servers);
  await auction.start();
  await auction.open();
  await auction.bid(6);
  await auction.expectAllArchived();
  await auction.archive.query("alter role gavel password 'another'");
  await auction.archive.query(
    "select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'gavel-archival' and pid <> pg_backend_pid()",
  );
  await auction.bid(3);
  writeFileSync(auction.file("postgres"), withPassword(servers.postgres.url, "another"));
  await auction.expectAllArchived();
  await auction.archive.query("alter role gavel password 'test'");
});

test("the secret of tokens changes, and a gateway that runs takes the new ones only", async () => {
  const auction = new AuctionUnderTest(servers);
  await auction.start();
  await auction.open();
  const file = join(dir, "tokens");
  writeFileSync(file, SECRET);
  const gateway = await startTestGateway(servers.redis.url, auction.uid, {
    TOKEN_SECRET_FILE: file,
  });
  expect((await gateway.bid("lot-1", 100)).status).toBe(201);
  const next = "another secret for tests, and for nothing else";
  writeFileSync(file, next);
  const token = await signToken(next, { sub: "ada", lifetimeSeconds: 60 });
  await until("the new one is taken", async () => {
    return (await gateway.bid("lot-1", 10_000_000, { token })).status !== 401;
  });
  expect((await gateway.bid("lot-1", 20_000_000, { token: await tokenOf("ada") })).status).toBe(
    401,
  );
});
