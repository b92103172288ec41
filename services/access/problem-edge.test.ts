import { fastify } from "fastify";
import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { BreakerOpen } from "../runtime/breaker.ts";
import type { Logger } from "../runtime/log.ts";
import { StoreUnavailable } from "../store/unreachable.ts";
import { answerErrors, createInternalErrors, invalid } from "./problem-edge.ts";
import { KeysUnavailable } from "./tokens.ts";
import { isUnavailable } from "./unavailable.ts";

const named = (name: string, message: string, fields: object = {}) =>
  Object.assign(new Error(message), { name }, fields);

const refused = Object.assign(new Error("connect"), { code: "ECONNREFUSED" });

const OUTAGES: readonly (readonly [string, Error])[] = [
  ["connection refused", refused],
  ["fetch to a closed port", new TypeError("fetch failed", { cause: refused })],
  ["fetch past its time limit", new DOMException("aborted due to timeout", "TimeoutError")],
  ["an open circuit breaker", new BreakerOpen("open")],
  ["a JWKS that cannot be fetched", new KeysUnavailable("no keys")],
  ["a store of ours that says so", new StoreUnavailable("Redis changed meanwhile")],
  ["ioredis without a connection", new Error("Stream isn't writeable and enableOfflineQueue…")],
  ["ioredis past its time limit", new Error("Command timed out")],
  ["ioredis: connection lost", new Error("Connection is closed.")],
  ["Redis loads its data", named("ReplyError", "LOADING Redis is loading the dataset in memory")],
  ["Redis cannot write to its disk", named("ReplyError", "MISCONF Errors writing to the AOF file")],
  ["a script on a full Redis", named("ReplyError", "OOM command not allowed … script: abc")],
  ["a new password", named("ReplyError", "WRONGPASS invalid username-password pair")],
  ["pg's pool", new Error("timeout exceeded when trying to connect")],
  ["pg's connection", new Error("Connection terminated unexpectedly")],
  ["pg past its time limit", new Error("Query read timeout")],
  ["Postgres shuts down", named("error", "terminating", { severity: "FATAL", code: "57P01" })],
  ["Postgres's disk is full", named("error", "no space", { severity: "ERROR", code: "53100" })],
  ["no schema yet", named("error", "no relation", { severity: "ERROR", code: "42P01" })],
  ["NATS past its time limit", named("TimeoutError", "timeout")],
  ["JetStream without a leader", named("JetStreamApiError", "no leader", { status: 503 })],
  ["an outage that another error wraps", new Error("check", { cause: new BreakerOpen("open") })],
];

const DEFECTS: readonly (readonly [string, unknown])[] = [
  ["a TypeError", new TypeError("Cannot read properties of undefined")],
  ["an Error without a class", new Error("unexpected")],
  ["a wrong type of a key", named("ReplyError", "WRONGTYPE Operation against a key")],
  ["an error in a script", named("ReplyError", "ERR user_script:12: attempt to index nil")],
  ["wrong SQL", named("error", "syntax error", { severity: "ERROR", code: "42601" })],
  ["a value that a column refuses", named("error", "check", { severity: "ERROR", code: "23514" })],
  ["what is no error", "text"],
];

test.each(OUTAGES)("outage: %s", (_, error) => {
  expect(isUnavailable(error)).toBe(true);
});

test.each(DEFECTS)("defect: %s", (_, error) => {
  expect(isUnavailable(error)).toBe(false);
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
