import { once } from "node:events";
import { createServer } from "node:http";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import type { AddressInfo } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { exportJWK, generateKeyPair, SignJWT } from "jose";
import { expect, test, vi } from "vitest";
import { afterFile } from "../testing/after-file.ts";
import { until } from "../testing/until.ts";
import { createVerifier, KeysUnavailable, signToken } from "./tokens.ts";

const SECRET = "thirty-two bytes are the least.."; // 32
const dir = mkdtempSync(join(tmpdir(), "gavel-tokens-"));
afterFile(() => rmSync(dir, { recursive: true, force: true }));
const file = (text: string) => {
  const path = join(dir, String(Math.random()));
  writeFileSync(path, text);
  return path;
};
const who = { TOKEN_ISSUER: "gavel", TOKEN_AUDIENCE: "gavel" };

test("a token that was signed here names its bidder, its scopes and its end", async () => {
  const verify = createVerifier({ ...who, TOKEN_SECRET_FILE: file(SECRET) });
  const token = await signToken(SECRET, { sub: "ada", lifetimeSeconds: 60 });
  const identity = await verify(token);
  expect(identity).toMatchObject({ bidderId: "ada", scopes: new Set(["bid"]) });
  expect(identity!.expiresAtMs).toBeGreaterThan(Date.now() + 50_000);
  expect(await verify(token)).toBe(identity); // remembered

  const admin = { sub: "owner", scope: "admin bid other", lifetimeSeconds: 60 };
  expect((await verify(await signToken(SECRET, admin)))!.scopes).toEqual(new Set(["admin", "bid"]));
});

test("a token that ends is not remembered beyond its end", async () => {
  const verify = createVerifier({ ...who, TOKEN_SECRET_FILE: file(SECRET) });
  vi.useFakeTimers({ toFake: ["Date"] });
  try {
    const token = await signToken(SECRET, { sub: "ada", lifetimeSeconds: 10 });
    const { expiresAtMs } = (await verify(token))!;
    vi.setSystemTime(expiresAtMs - 1);
    expect(await verify(token)).not.toBeNull();
    vi.setSystemTime(expiresAtMs);
    expect(await verify(token)).toBeNull();
  } finally {
    vi.useRealTimers();
  }
});

test("clocks may differ by 5 s: a token is accepted from 5 s before its nbf until 5 s after its exp", async () => {
  const verify = createVerifier({ ...who, TOKEN_SECRET_FILE: file(SECRET) });
  vi.useFakeTimers({ toFake: ["Date"] });
  try {
    const nowSeconds = Math.floor(Date.now() / 1000);
    vi.setSystemTime(nowSeconds * 1000);
    const isTaken = async (nbf: number, exp: number) => {
      const token = await new SignJWT({ nbf: nowSeconds + nbf, iat: nowSeconds + nbf })
        .setProtectedHeader({ alg: "HS256" })
        .setSubject("ada")
        .setIssuer("gavel")
        .setAudience("gavel")
        .setExpirationTime(nowSeconds + exp)
        .sign(new TextEncoder().encode(SECRET));
      return (await verify(token)) !== null;
    };
    expect(await isTaken(0, 60)).toBe(true);
    expect(await isTaken(2, 60)).toBe(true);
    expect(await isTaken(5, 60)).toBe(true);
    expect(await isTaken(6, 60)).toBe(false);
    expect(await isTaken(-60, -4)).toBe(true);
    expect(await isTaken(-60, -5)).toBe(false);
  } finally {
    vi.useRealTimers();
  }
});

test("a process does not start with a short secret, with none, or with two sources of keys", async () => {
  expect(() => createVerifier({ ...who, TOKEN_SECRET_FILE: file(SECRET.slice(1)) })).toThrow("32");
  expect(() => createVerifier(who)).toThrow("exactly one");
  expect(() =>
    createVerifier({
      ...who,
      TOKEN_SECRET_FILE: file(SECRET),
      TOKEN_JWKS_URL: "http://localhost/jwks",
    }),
  ).toThrow("exactly one");
  expect(() => signToken("short", { sub: "ada", lifetimeSeconds: 1 })).toThrow("32");
});

async function keyServer() {
  const pair = await generateKeyPair("ES256", { extractable: true });
  const jwk = { ...(await exportJWK(pair.publicKey)), kid: "one", use: "sig", alg: "ES256" };
  const state = { status: 200, asked: 0 };
  const server = createServer((_request, response) => {
    state.asked++;
    response.writeHead(state.status, { "content-type": "application/json" });
    response.end(JSON.stringify({ keys: [jwk] }));
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  afterFile(() => server.close());
  const { port } = server.address() as AddressInfo;
  const token = (kid = "one", key = pair.privateKey) =>
    new SignJWT({ scope: "bid" })
      .setProtectedHeader({ alg: "ES256", kid, jku: "http://127.0.0.1:1/evil" })
      .setSubject("ada")
      .setIssuer("gavel")
      .setAudience("gavel")
      .setExpirationTime("5m")
      .sign(key);
  return { state, token, url: `http://127.0.0.1:${port}/jwks` };
}

test("tokens are verified by the key set, which is fetched once", async () => {
  const { state, token, url } = await keyServer();
  const verify = createVerifier({ ...who, TOKEN_JWKS_URL: url });
  expect(await verify(await token())).toMatchObject({ bidderId: "ada" });
  const other = await generateKeyPair("ES256");
  expect(await verify(await token("one", other.privateKey))).toBeNull();
  for (let i = 0; i < 20; i++) expect(await verify(await token(`unknown-${i}`))).toBeNull();
  // A shared secret is no key of a key set.
  expect(await verify(await signToken(SECRET, { sub: "ada", lifetimeSeconds: 60 }))).toBeNull();
  expect(state.asked).toBe(1);
});

test("a key set that cannot be had is our trouble, never a bad token", async () => {
  const { state, token, url } = await keyServer();
  const verify = createVerifier({ ...who, TOKEN_JWKS_URL: url });
  state.status = 500;
  const good = await token();
  for (let i = 0; i < 10; i++) await expect(verify(good)).rejects.toThrow(KeysUnavailable);
  expect(state.asked).toBe(1); // the others did not ask again at once
  const gone = createVerifier({ ...who, TOKEN_JWKS_URL: "http://127.0.0.1:1/jwks" });
  await expect(gone(good)).rejects.toThrow(KeysUnavailable);
  expect(await gone("garbage")).toBeNull();
});

test("while the key set cannot be fetched, stale keys are used, for an hour at most", async () => {
  const { state, token, url } = await keyServer();
  const stale: boolean[] = [];
  const verify = createVerifier({ ...who, TOKEN_JWKS_URL: url }, (isStale) => stale.push(isStale));
  vi.useFakeTimers({ toFake: ["Date"] });
  try {
    expect(await verify(await token())).toMatchObject({ bidderId: "ada" });
    state.status = 500;
    vi.setSystemTime(Date.now() + 11 * 60_000); // the set is older than it may be without a fetch
    expect(await verify(await token())).toMatchObject({ bidderId: "ada" });
    const other = await generateKeyPair("ES256");
    expect(await verify(await token("one", other.privateKey))).toBeNull();
    // A key that we do not know may be a new one.
    await expect(verify(await token("two", other.privateKey))).rejects.toThrow(KeysUnavailable);
    expect(stale).toEqual([true]);
    vi.setSystemTime(Date.now() + 50 * 60_000);
    const late = await token();
    await expect(verify(late)).rejects.toThrow(KeysUnavailable);
    state.status = 200;
    await until("the set is fetched again", () => verify(late).catch(() => null));
    expect(stale).toEqual([true, false]);
  } finally {
    vi.useRealTimers();
  }
});

test("a secret that was replaced is the only one whose tokens are good, remembered ones included", async () => {
  const path = file(SECRET);
  const verify = createVerifier({ ...who, TOKEN_SECRET_FILE: path });
  const before = await signToken(SECRET, { sub: "ada", lifetimeSeconds: 60 });
  expect(await verify(before)).toMatchObject({ bidderId: "ada" });
  const next = "another one of thirty-two bytes...";
  const after = await signToken(next, { sub: "ada", lifetimeSeconds: 60 });
  expect(await verify(after)).toBeNull();
  writeFileSync(path, next);
  await until("the new secret is seen", () => verify(after));
  expect(await verify(before)).toBeNull();
});
