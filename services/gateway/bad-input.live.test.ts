/**
 * What must not get in. Each case goes over a real socket, gets a clear problem, leaves every key of
 * Redis as it was, and the next good bid is accepted.
 */
import { createHmac, generateKeyPairSync, sign } from "node:crypto";
import { connect } from "node:net";
import { describe, expect, test } from "vitest";
import { defineAndOpen, lotDefinition, openStore } from "../testing/auction.ts";
import { SECRET, startTestGateway, tokenOf } from "../testing/gateway.ts";
import { startRedis } from "../testing/servers.ts";
import { until } from "../testing/until.ts";

const redis = await startRedis();
const store = await openStore(redis.url);
const { definition } = await defineAndOpen(store, {
  lots: ["lot-1", "canary"].map((lotId) => lotDefinition(lotId)),
});
const gateway = await startTestGateway(redis.url, definition.uid);
const { hostname: host, port } = new URL(gateway.url);
const token = await tokenOf("ada");
let amountMinor = 1_000;
await canary();
await until(
  "the clock has opened all lots",
  async () => (await gateway.get("/v1/lots?status=scheduled")).body["lots"].length === 0,
);

async function canary(): Promise<void> {
  const { status } = await gateway.bid("canary", amountMinor);
  expect(status).toBe(201);
  amountMinor += 1_000;
}

/** Every key with its value, but for the clock's lease, which is kept all the time. */
async function keyspace(): Promise<Record<string, string>> {
  const keys = (await store.keys("*")).filter((key) => !key.endsWith(":lease:clock")).sort();
  const values = await Promise.all(keys.map(valueOf));
  return Object.fromEntries(keys.map((key, i) => [key, JSON.stringify(values[i])]));
}

async function valueOf(key: string): Promise<unknown> {
  switch (await store.type(key)) {
    case "hash":
      return Object.entries(await store.hgetall(key)).sort();
    case "stream":
      return (await store.xrange(key, "-", "+")).length;
    case "zset":
      return store.zrange(key, "0", "-1", "WITHSCORES");
    default:
      return store.get(key);
  }
}

async function harmless(attack: () => Promise<void>): Promise<void> {
  const before = await keyspace();
  await attack();
  expect(await keyspace()).toEqual(before);
  await canary();
}

interface RawAnswer {
  readonly status: number;
  readonly head: string;
  readonly body: Record<string, unknown>;
  readonly tookMs: number;
}

/** Sends bytes on a socket of its own and reads the first answer, to its length or the end. */
function raw(parts: string | Buffer | (() => Iterable<string>), paceMs = 0): Promise<RawAnswer> {
  const fromMs = performance.now();
  return new Promise((resolve, reject) => {
    const socket = connect({ host, port: Number(port) });
    let text = "";
    const finish = () => {
      socket.destroy();
      const [head = "", body = ""] = text.split(/\r\n\r\n(.*)/s);
      const status = Number(/^HTTP\/1\.1 (\d+)/.exec(head)?.[1] ?? 0);
      const isJson = /content-type: application\/\w*\+?json/i.test(head);
      const tookMs = performance.now() - fromMs;
      resolve({ status, head, body: isJson ? JSON.parse(body) : {}, tookMs });
    };
    socket.setEncoding("utf8");
    socket.on("data", (data) => {
      text += data;
      const length = /content-length: (\d+)/i.exec(text)?.[1];
      const at = text.indexOf("\r\n\r\n");
      if (length && at > 0 && Buffer.byteLength(text.slice(at + 4)) >= Number(length)) finish();
    });
    socket.on("close", finish);
    // A server may well close on us while we still send.
    socket.on("error", () => {});
    socket.setTimeout(15_000, () => reject(new Error("no answer")));
    if (typeof parts !== "function") socket.write(parts);
    else {
      const drip = parts()[Symbol.iterator]();
      const timer = setInterval(() => {
        const { done, value } = drip.next();
        if (done || socket.destroyed) clearInterval(timer);
        else socket.write(value);
      }, paceMs);
    }
  });
}

const HEADERS: Record<string, string> = {
  host: "localhost",
  "content-type": "application/json",
  authorization: `Bearer ${token}`,
  "idempotency-key": "attack",
};

function request(
  body: string | Buffer,
  changes: Record<string, string | null> = {},
  path = "/v1/lots/lot-1/bids",
  method = "POST",
): Buffer {
  const headers = { ...HEADERS, "content-length": String(Buffer.byteLength(body)), ...changes };
  const lines = Object.entries(headers).flatMap(([name, value]) =>
    value === null ? [] : [`${name}: ${value}`],
  );
  const head = `${method} ${path} HTTP/1.1\r\n${lines.join("\r\n")}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head, "latin1"), Buffer.from(body)]);
}

const GOOD = '{"amountMinor":5000}';

describe("a body that is no bid is invalid, and the answer names the field", () => {
  const bodies: [body: string, field: string][] = [
    ['{"amountMinor":-1}', "amountMinor"],
    ['{"amountMinor":0}', "amountMinor"],
    ['{"amountMinor":-0}', "amountMinor"],
    ['{"amountMinor":10.5}', "amountMinor"],
    ['{"amountMinor":1000.00000000000001}', "amountMinor"],
    ['{"amountMinor":5000,"\\u0061mountMinor":9000.0000000000001}', "amountMinor"],
    ['{"amountMinor":1e309}', "amountMinor"],
    ['{"amountMinor":9007199254740992}', "amountMinor"],
    ['{"amountMinor":9007199254740993}', "amountMinor"],
    ['{"amountMinor":9007199254740991}', "amountMinor"],
    ['{"amountMinor":"5000"}', "amountMinor"],
    ['{"amountMinor":null}', "amountMinor"],
    ['{"amountMinor":true}', "amountMinor"],
    ['{"amountMinor":[5000]}', "amountMinor"],
    ['{"amountMinor":{}}', "amountMinor"],
    ["{}", "amountMinor"],
    ['{"amountMinor":5000,"bidderId":"eve"}', "bidderId"],
    ['{"amountMinor":5000,"placedAtMs":1}', "placedAtMs"],
    ['{"amountMinor":5000,"epoch":9}', "epoch"],
    ['{"AmountMinor":5000}', "amountMinor"],
    ['{"amountMinor":NaN}', "body"],
    ['{"amountMinor":Infinity}', "body"],
    ['{"amountMinor":05000}', "body"],
    ['{"amountMinor":5000,}', "body"],
    ['{"amountMinor":5000}//', "body"],
    ['{"amountMinor":50', "body"],
    ['\ufeff{"amountMinor":5000}', "body"],
    ['{"amountMinor":5000,"__proto__":{"x":1}}', "body"],
    ['{"amountMinor":5000,"constructor":{"prototype":{"x":1}}}', "body"],
    ['"amountMinor"', "body"],
    ["[5000]", "body"],
    ["null", "body"],
    ["5000", "body"],
    ["", "body"],
    ["[".repeat(4_000), "body"],
  ];
  test.each(bodies)("%s", async (body, field) => {
    await harmless(async () => {
      const answer = await raw(request(body));
      expect(answer.body).toMatchObject({ status: 400, code: "invalid", field });
      expect(answer.status).toBe(400);
    });
    expect(({} as Record<string, unknown>)["x"]).toBeUndefined();
  });

  test("bytes that are no UTF-8", async () => {
    await harmless(async () => {
      const body = Buffer.from([...Buffer.from('{"amountMinor":5000,"'), 0xff, 0xfe, 0x22, 0x7d]);
      expect((await raw(request(body))).status).toBe(400);
    });
  });
});

describe("a lot's name that is none is invalid, one that is not known is unknown", () => {
  const names: [lotId: string, status: number, code: string][] = [
    ["a.b", 400, "invalid"],
    ["a%20b", 400, "invalid"],
    ["*", 400, "invalid"],
    ["%3E", 400, "invalid"],
    ["%22", 400, "invalid"],
    ["'", 400, "invalid"],
    ["%7Bx%7D", 400, "invalid"],
    ["a:b", 400, "invalid"],
    ["a%0Ab", 400, "invalid"],
    ["lot-1%00", 400, "invalid"],
    ["l%C3%B6t", 400, "invalid"],
    ["%D0%BBot-1", 400, "invalid"],
    ["LOT-1", 400, "invalid"],
    ["-lot", 400, "invalid"],
    ["x".repeat(33), 400, "invalid"],
    ["x".repeat(300), 400, "invalid"],
    ["%zz", 400, "invalid"],
    ["%ff", 400, "invalid"],
    ["x".repeat(2_000), 400, "invalid"],
    ["..", 400, "invalid"],
    ["%2e%2e%2flot-1", 400, "invalid"],
    ["nosuchlot", 404, "unknown_lot"],
  ];
  test.each(names)("%s", async (lotId, status, code) => {
    await harmless(async () => {
      const bid = await raw(request(GOOD, {}, `/v1/lots/${lotId}/bids`));
      expect([bid.status, bid.body["code"]]).toEqual([status, code]);
      const seen = await raw(request("", { "content-length": null }, `/v1/lots/${lotId}`, "GET"));
      expect([seen.status, seen.body["code"]]).toEqual([status, code]);
    });
  });
});

const claims = { sub: "ada", iss: "gavel", aud: "gavel", scope: "bid" };
const inMinutes = (minutes: number) => Math.floor(Date.now() / 1000) + 60 * minutes;
const b64 = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
function forge(header: object, payload: object, secret: string | null = SECRET): string {
  const text = `${b64(header)}.${b64(payload)}`;
  const signature =
    secret === null ? "" : createHmac("sha256", secret).update(text).digest("base64url");
  return `${text}.${signature}`;
}
const HS256 = { alg: "HS256", typ: "JWT" };
const good = { ...claims, exp: inMinutes(5) };
const { privateKey, publicKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });

describe("a token that is not good is 401 in the same words, whatever is wrong with it", () => {
  const rs256 = `${b64({ alg: "RS256" })}.${b64(good)}`;
  const tokens: [what: string, authorization: string | null][] = [
    ["none at all", null],
    ["empty", ""],
    ["no scheme", token],
    ["another scheme", `Basic ${token}`],
    ["garbage", "Bearer garbage"],
    ["garbage of three parts", "Bearer a.b.c"],
    ["two tokens", `Bearer ${token} ${token}`],
    ["no signature", `Bearer ${token.slice(0, token.lastIndexOf(".") + 1)}`],
    ["another secret", `Bearer ${forge(HS256, good, "another secret of at least 32 bytes")}`],
    ["an empty secret", `Bearer ${forge(HS256, good, "")}`],
    ["alg none", `Bearer ${forge({ alg: "none" }, good, null)}`],
    ["alg nOnE", `Bearer ${forge({ alg: "nOnE" }, good, null)}`],
    ["alg HS384", `Bearer ${forge({ alg: "HS384" }, good)}`],
    [
      "RS256 by a key of its own",
      `Bearer ${rs256}.${sign("sha256", Buffer.from(rs256), privateKey).toString("base64url")}`,
    ],
    [
      "HS256 with a public key as the secret",
      `Bearer ${forge(HS256, good, publicKey.export({ type: "spki", format: "pem" }).toString())}`,
    ],
    ["a kid that is a path", `Bearer ${forge({ ...HS256, kid: "../../dev/null" }, good, "")}`],
    ["a kid that is SQL", `Bearer ${forge({ ...HS256, kid: "' or 1=1 --" }, good, "")}`],
    ["a jku", `Bearer ${forge({ ...HS256, jku: `${gateway.url}/jwks` }, good, "")}`],
    ["an x5u", `Bearer ${forge({ ...HS256, x5u: `${gateway.url}/cert` }, good, "")}`],
    ["a jwk", `Bearer ${forge({ ...HS256, jwk: { kty: "oct", k: "" } }, good, "")}`],
    ["crit", `Bearer ${forge({ ...HS256, crit: ["exp"] }, good)}`],
    ["expired", `Bearer ${forge(HS256, { ...claims, exp: inMinutes(-1) })}`],
    ["without an end", `Bearer ${forge(HS256, claims)}`],
    ["an end that is text", `Bearer ${forge(HS256, { ...claims, exp: String(inMinutes(5)) })}`],
    ["not valid yet", `Bearer ${forge(HS256, { ...good, nbf: inMinutes(5) })}`],
    ["another issuer", `Bearer ${forge(HS256, { ...good, iss: "evil" })}`],
    ["another audience", `Bearer ${forge(HS256, { ...good, aud: ["a", "b"] })}`],
    ["without a subject", `Bearer ${forge(HS256, { ...good, sub: undefined })}`],
    ["an empty subject", `Bearer ${forge(HS256, { ...good, sub: "" })}`],
    ["a subject that is a number", `Bearer ${forge(HS256, { ...good, sub: 7 })}`],
    ["a subject with a newline", `Bearer ${forge(HS256, { ...good, sub: "a\nb" })}`],
    ["a subject with NUL", `Bearer ${forge(HS256, { ...good, sub: "a\0b" })}`],
    ["a subject of half a character", `Bearer ${forge(HS256, { ...good, sub: "a\ud800" })}`],
    ["a subject of 129 characters", `Bearer ${forge(HS256, { ...good, sub: "x".repeat(129) })}`],
    ["a token of 5 KB", `Bearer ${forge(HS256, { ...good, pad: "x".repeat(4_000) })}`],
  ];
  const words = new Set<unknown>();
  test.each(tokens)("%s", async (_what, authorization) => {
    await harmless(async () => {
      const answer = await raw(request(GOOD, { authorization }));
      expect([answer.status, answer.body["code"]]).toEqual([401, "unauthenticated"]);
      expect(answer.head).toMatch(/www-authenticate: Bearer/i);
      words.add(JSON.stringify(answer.body));
      expect(words.size).toBe(1);
    });
  });

  test("a token of an identity provider whose clock is 2 s ahead is accepted", async () => {
    const nowSeconds = Math.floor(Date.now() / 1000);
    const ahead = forge(HS256, { ...good, nbf: nowSeconds + 2, iat: nowSeconds + 2 });
    expect((await gateway.bid("canary", amountMinor, { token: ahead })).status).toBe(201);
    amountMinor += 1_000;
  });

  test("a good token without the scope to bid is 403", async () => {
    for (const scope of ["", "admin", "bidding", "view"]) {
      await harmless(async () => {
        const authorization = `Bearer ${await tokenOf("ada", { scope })}`;
        const answer = await raw(request(GOOD, { authorization }));
        expect([answer.status, answer.body["code"]]).toEqual([403, "forbidden"]);
      });
    }
  });
});

describe("a request that is not as it must be is refused for what is wrong with it", () => {
  const requests: [what: string, bytes: Buffer, status: number, said: object][] = [];
  const add = (what: string, status: number, said: object, ...of: Parameters<typeof request>) =>
    requests.push([what, request(...of), status, said]);

  const key = { code: "invalid", field: "idempotency-key" };
  add("no key", 400, key, GOOD, { "idempotency-key": null });
  add("an empty key", 400, key, GOOD, { "idempotency-key": "" });
  add("a key of 129 characters", 400, key, GOOD, { "idempotency-key": "k".repeat(129) });
  add("a key with a space", 400, key, GOOD, { "idempotency-key": "a b" });
  add("a key that is not ASCII", 400, key, GOOD, { "idempotency-key": "k\u00e9y" });
  add("a key with a tab", 400, key, GOOD, { "idempotency-key": "a\tb" });
  add("two keys", 400, key, GOOD, { "idempotency-key": "a\r\nidempotency-key: b" });
  const request400 = { code: "invalid", field: "request" };
  add("a key with a control character", 400, request400, GOOD, { "idempotency-key": "a\x01b" });

  const media = { code: "unsupported_media_type" };
  add("text/plain", 415, media, GOOD, { "content-type": "text/plain" });
  add("no content type", 415, media, GOOD, { "content-type": null });
  add("a form", 415, media, "amountMinor=5000", {
    "content-type": "application/x-www-form-urlencoded",
  });
  add("a body with a Content-Encoding", 415, media, GOOD, { "content-encoding": "gzip" });
  add("a content type that only looks right", 415, media, GOOD, {
    "content-type": "application/jsonp",
  });

  const large = { code: "too_large" };
  add("a body of 5 KB", 413, large, `{"amountMinor":5000${" ".repeat(5_000)}}`);
  add("a body said to be 10 MB", 413, large, GOOD, { "content-length": "10485760" });
  add("10 MB", 413, large, `{"amountMinor":5000${" ".repeat(10 * 1024 * 1024)}}`);
  const chunk = "x".repeat(5_000);
  add("5 KB in a chunk", 413, large, `${chunk.length.toString(16)}\r\n${chunk}\r\n0\r\n\r\n`, {
    "content-length": null,
    "transfer-encoding": "chunked",
  });

  add("both lengths", 400, request400, `0\r\n\r\n`, { "transfer-encoding": "chunked" });
  add("two lengths", 400, request400, GOOD, { "content-length": "20\r\ncontent-length: 21" });
  add("a folded header", 400, request400, GOOD, { "x-a": "b\r\n c" });
  add("a bare line feed", 400, request400, GOOD, { "x-a": "b\nx-c: d" });
  const host = { code: "invalid", field: "host" };
  add("no host", 400, host, GOOD, { host: null });
  add("two hosts", 400, host, GOOD, { host: "a\r\nhost: b" });
  add("an unknown expectation", 417, { code: "expectation_failed" }, GOOD, { expect: "200-ok" });
  const headers = { code: "headers_too_large" };
  add("100 KB of headers", 431, headers, GOOD, { "x-a": "a".repeat(100_000) });
  add("2,000 headers", 431, headers, GOOD, {
    "x-a": `a${"\r\nx: yyyy".repeat(2_000)}`,
  });

  const nothing = { code: "not_found" };
  add("an unknown route", 404, nothing, GOOD, {}, "/v1/bids");
  add("a route with two slashes", 404, nothing, GOOD, {}, "//v1/lots/lot-1/bids");
  add("another version", 404, nothing, GOOD, {}, "/v2/lots/lot-1/bids");
  const method = { code: "method_not_allowed" };
  add("PUT", 405, method, GOOD, {}, "/v1/lots/lot-1/bids", "PUT");
  add("DELETE", 405, method, "", {}, "/v1/lots/lot-1", "DELETE");
  add("CONNECT", 405, method, "", {}, "localhost:80", "CONNECT");
  const tag = { "content-length": null, "if-match": '"x"' };
  add("a file of another tag", 400, request400, "", tag, "/app.js", "GET");
  add("POST where there is only GET", 405, method, "x", {}, "/v1/auction");
  add("a limit of 0", 400, { field: "limit" }, "", {}, "/v1/lots?limit=0", "GET");
  add("a limit of 201", 400, { field: "limit" }, "", {}, "/v1/lots?limit=201", "GET");
  add("two limits", 400, { field: "limit" }, "", {}, "/v1/lots?limit=1&limit=2", "GET");
  add("no status", 400, { field: "status" }, "", {}, "/v1/lots?status=sold", "GET");
  add("a strange cursor", 400, { field: "cursor" }, "", {}, "/v1/lots?cursor=zzz", "GET");
  add(
    "a cursor out of range",
    400,
    { field: "cursor" },
    "",
    {},
    "/v1/lots/lot-1/bids?cursor=1.99999999999999999999",
    "GET",
  );
  add("an unknown parameter", 400, { field: "x" }, "", {}, "/v1/lots?x=1", "GET");

  test.each(requests)("%s", async (_what, bytes, status, said) => {
    await harmless(async () => {
      const answer = await raw(bytes);
      expect([answer.status, answer.body]).toMatchObject([status, said]);
    });
  });
});

test("a file is sent whole, whatever range or form of URL asks for it", async () => {
  const file = async (path: string, range: string | null) => {
    const headers = { "content-length": null, "content-type": null, range };
    const { status, head } = await raw(request("", headers, path, "GET"));
    return { status, length: /content-length: (\d+)/i.exec(head)?.[1] };
  };
  const whole = await file("/gavel.svg", null);
  expect(whole.status).toBe(200);
  for (const range of ["bytes=999999-", "bytes=0-3", "bytes=9-1", "lines=1-2"]) {
    expect([range, await file("/gavel.svg", range)]).toEqual([range, whole]);
  }
  expect(await file("http://localhost/gavel.svg", null)).toEqual(whole);
});

describe("whoever is slow is hung up on, and nobody else waits", () => {
  const head = `POST /v1/lots/lot-1/bids HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${token}\r\n`;
  const slow: [what: string, parts: () => Iterable<string>][] = [
    [
      "a body byte by byte",
      function* () {
        yield `${head}content-type: application/json\r\nidempotency-key: s\r\ncontent-length: 100\r\n\r\n`;
        yield* " ".repeat(99);
      },
    ],
    [
      "headers byte by byte",
      function* () {
        yield head;
        yield* "x-slow: aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
      },
    ],
  ];
  test.concurrent.each(slow)("%s", async (_what, parts) => {
    let isAnswered = false;
    const answering = raw(parts, 200).finally(() => (isAnswered = true));
    await raw(request(GOOD, { authorization: null }));
    expect(isAnswered).toBe(false); // Nobody else waits for the slow one.
    const answer = await answering;
    expect([answer.status, answer.body["code"]]).toEqual([408, "timeout"]);
    expect(answer.tookMs).toBeLessThan(14_000); // Before all has come.
  });
});
