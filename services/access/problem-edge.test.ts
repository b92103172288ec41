import { fastify } from "fastify";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { UnreadableEvent } from "../lot/events.ts";
import { BreakerOpen } from "../runtime/breaker.ts";
import type { Logger } from "../runtime/log.ts";
import { StoreRefused, StoreUnavailable } from "../store/unreachable.ts";
import { classOf, isUnavailable, refusalOf } from "./error-class.ts";
import { answerErrors, createInternalErrors, invalid } from "./problem-edge.ts";
import { KeysUnavailable } from "./tokens.ts";

const named = (name: string, message: string, fields: object = {}) =>
  Object.assign(new Error(message), { name }, fields);

const refused = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });

const postgres = (code: string, message: string, severity = "ERROR") =>
  named("error", message, { severity, code });

const UNREACHABLE: readonly (readonly [string, Error])[] = [
  ["connection refused", refused],
  ["fetch to a closed port", new TypeError("fetch failed", { cause: refused })],
  ["fetch past its time limit", new DOMException("aborted due to timeout", "TimeoutError")],
  ["an open circuit breaker", new BreakerOpen("open")],
  ["a JWKS that cannot be fetched", new KeysUnavailable("no keys")],
  ["a StoreUnavailable of Gavel", new StoreUnavailable("Redis changed meanwhile")],
  ["ioredis without a connection", new Error("Stream isn't writeable and enableOfflineQueue…")],
  ["ioredis past its time limit", new Error("Command timed out")],
  ["ioredis: connection lost", new Error("Connection is closed.")],
  ["Redis loads its data", named("ReplyError", "LOADING Redis is loading the dataset in memory")],
  ["pg's pool", new Error("timeout exceeded when trying to connect")],
  ["pg's connection", new Error("Connection terminated unexpectedly")],
  ["pg past its time limit", new Error("Query read timeout")],
  ["Postgres shuts down", postgres("57P01", "terminating", "FATAL")],
  ["a deadlock in Postgres", postgres("40P01", "deadlock detected")],
  ["Postgres has no connection left", postgres("53300", "too many clients already", "FATAL")],
  ["NATS past its time limit", named("TimeoutError", "timeout")],
  ["JetStream without a leader", named("JetStreamApiError", "no leader", { status: 503 })],
  ["a stream that went away", named("JetStreamStatusError", "consumer deleted", { code: 409 })],
  [
    "another relay that took over",
    named("JetStreamApiError", "wrong last sequence: 3", { status: 400, code: 10_071 }),
  ],
  ["PgBouncer without a server", postgres("08P01", "server login has been failing", "FATAL")],
  ["an outage that another error wraps", new Error("check", { cause: new BreakerOpen("open") })],
];

const REFUSED: readonly (readonly [string, Error])[] = [
  ["a StoreRefused of Gavel", new StoreRefused("Postgres refuses every entry")],
  ["an event that somebody else wrote", new UnreadableEvent("an event must be an object")],
  ["Redis cannot write to its disk", named("ReplyError", "MISCONF Errors writing to the AOF file")],
  ["a script on a full Redis", named("ReplyError", "OOM command not allowed … script: abc")],
  ["a new password of Redis", named("ReplyError", "WRONGPASS invalid username-password pair")],
  ["a command that Redis does not have", named("ReplyError", "ERR unknown command 'XADD'")],
  ["Postgres's disk is full", postgres("53100", "no space")],
  ["a table that is absent", postgres("42P01", 'relation "events" does not exist')],
  ["a table of somebody else", postgres("42501", "permission denied for table events")],
  ["a constraint of somebody else", postgres("23514", "violates check constraint")],
  ["a wrong password of Postgres", postgres("28P01", "password authentication failed", "FATAL")],
  ["no password of Postgres", new Error("SASL: SCRAM-SERVER-FIRST-MESSAGE: client password must…")],
  ["a database that is absent", postgres("3D000", "database does not exist", "FATAL")],
  ["a certificate of another name", named("Error", "altnames", { code: "ERR_TLS_CERT_ALTNAME" })],
  ["a wrong password of NATS", named("AuthorizationError", "Authorization Violation")],
  [
    "a message too large for NATS",
    named("InvalidArgumentError", "'payload' max_payload size exceeded"),
  ],
  ["NATS without JetStream", named("JetStreamNotEnabled", "jetstream is not enabled")],
  [
    "a limit of JetStream",
    named("JetStreamApiError", "maximum number of streams", { status: 400 }),
  ],
  [
    "a right of NATS that its client wraps",
    named("RequestError", "no right", {
      cause: named("PermissionViolationError", "Permissions Violation for Publish"),
    }),
  ],
  [
    "a refusal that stops the pipeline",
    new StoreUnavailable("batch", { cause: postgres("42501", "permission denied") }),
  ],
  ["PgBouncer has no such database", postgres("08P01", "no such database: gavel", "FATAL")],
  ["PgBouncer has no such user", postgres("08P01", "no such user: gavel", "FATAL")],
  ["a password that PgBouncer refuses", postgres("08P01", "password authentication failed")],
  [
    "a parameter that PgBouncer refuses",
    postgres("08P01", "unsupported startup parameter: options", "FATAL"),
  ],
  [
    "PgBouncer pools statements",
    postgres("08P01", "transaction blocks not allowed in statement pooling mode"),
  ],
];

const DEFECTS: readonly (readonly [string, unknown])[] = [
  ["a TypeError", new TypeError("Cannot read properties of undefined")],
  ["an Error without a class", new Error("unexpected")],
  ["a wrong type of a key", named("ReplyError", "WRONGTYPE Operation against a key")],
  ["an error in a script", named("ReplyError", "ERR user_script:12: attempt to index nil")],
  ["wrong SQL", postgres("42601", "syntax error")],
  ["a value that a type refuses", postgres("22P02", "invalid input syntax")],
  ["what is no error", "text"],
];

test.each(UNREACHABLE)("unreachable: %s", (_, error) => {
  expect(classOf(error)).toBe("unreachable");
  expect(isUnavailable(error)).toBe(true);
});

test.each(REFUSED)("refused: %s", (_, error) => {
  expect(classOf(error)).toBe("refused");
  expect(isUnavailable(error)).toBe(true);
});

test.each(DEFECTS)("defect: %s", (_, error) => {
  expect(classOf(error)).toBe("defect");
  expect(isUnavailable(error)).toBe(false);
});

test("a refusal names the store, and gives its reason with its code", () => {
  const denied = postgres("42501", "permission denied for table events");
  const reason = "42501: permission denied for table events";
  expect(refusalOf(new Error("batch", { cause: denied }))).toEqual({ store: "postgres", reason });
  expect(REFUSED.map(([, error]) => refusalOf(error)?.store)).toEqual([
    null,
    null,
    ...Array(4).fill("redis"),
    ...Array(7).fill("postgres"),
    null,
    ...Array(5).fill("nats"),
    ...Array(6).fill("postgres"),
  ]);
  for (const [, error] of [...UNREACHABLE, ...DEFECTS]) expect(refusalOf(error)).toBe(null);
});

test("defects are answered internal, logged as errors with the stack and counted; outages are not", async () => {
  const registry = new Registry();
  const lines: { level: string; err: Error; message: string }[] = [];
  const write = (level: string) => (fields: { err: Error }, message: string) =>
    void lines.push({ level, err: fields.err, message });
  const log = {
    error: write("error"),
    warn: write("warn"),
    isLevelEnabled: () => true,
  } as unknown as Logger;
  const app = fastify();
  answerErrors(app, { log, internalErrors: createInternalErrors(registry, "gavel_test_") });
  const routes: Record<string, unknown> = {
    "/defect": new TypeError("x is not a function"),
    "/outage": new StoreUnavailable("away"),
    "/refused": invalid("cursor", "is not of this list"),
  };
  for (const [path, error] of Object.entries(routes)) {
    app.get(path, async () => {
      throw error;
    });
  }
  const answers = await Promise.all(Object.keys(routes).map((path) => app.inject(path)));

  expect(answers.map((answer) => [answer.statusCode, answer.json().code])).toEqual([
    [500, "internal"],
    [503, "unavailable"],
    [400, "invalid"],
  ]);
  expect(answers.map(({ headers }) => headers["content-type"])).toEqual(
    answers.map(() => expect.stringContaining("application/problem+json")),
  );
  expect(answers[0]!.body).not.toContain("not a function");
  expect(lines.map(({ level }) => level)).toEqual(["error", "warn"]);
  expect(lines[0]!.err.stack).toContain("problem-edge.test.ts");
  expect(await registry.metrics()).toContain("gavel_test_internal_errors_total 1");
});
