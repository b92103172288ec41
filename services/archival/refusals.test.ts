import { Registry } from "prom-client";
import { expect, test } from "vitest";
import { createLog } from "../runtime/log.ts";
import { createMetrics, type Dependency } from "./metrics.ts";
import { Refusals } from "./refusals.ts";

const named = (name: string, message: string) => Object.assign(new Error(message), { name });
const sqlState = (code: string, message: string) =>
  Object.assign(new Error(message), { code, severity: "ERROR" });

test.each<[Dependency, Error, string]>([
  [
    "postgres",
    sqlState("42501", "permission denied for schema public"),
    "42501: permission denied for schema public: grant the user in POSTGRES_URL_FILE CREATE on schema public, and make it the owner of the tables",
  ],
  [
    "postgres",
    sqlState("28P01", 'password authentication failed for user "gavel"'),
    '28P01: password authentication failed for user "gavel": put the right user and password into the URL in POSTGRES_URL_FILE',
  ],
  [
    "postgres",
    new Error("The server does not support SSL connections"),
    "The server does not support SSL connections: the URL in POSTGRES_URL_FILE must ask for TLS if and only if the server does, and its certificate be trusted",
  ],
  [
    "redis",
    named("ReplyError", "WRONGPASS invalid username-password pair or user is disabled."),
    "WRONGPASS invalid username-password pair or user is disabled.: put the right user and password into the URL in REDIS_URL_FILE",
  ],
  [
    "nats",
    named("AuthorizationError", "Authorization Violation"),
    "Authorization Violation: put the right user and password into the URL in NATS_URL_FILE",
  ],
  ["postgres", sqlState("53100", "disk full"), "53100: disk full"],
])("what %s refuses is followed by what to do: %s", (store, error, reason) => {
  const { storeRefuses } = createMetrics(new Registry());
  const refusals = new Refusals(storeRefuses, createLog("test", "silent"));
  refusals.failed("work", store, error);
  expect(refusals.reasons).toEqual({ [store]: reason });
  refusals.served("work");
  expect(refusals.text).toBeNull();
});
