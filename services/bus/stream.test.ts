import { JetStreamApiError } from "@nats-io/jetstream";
import { errors } from "@nats-io/transport-node";
import { expect, test } from "vitest";
import { isOfStream } from "./stream.ts";

const answered = (code: number, err_code: number, description: string) =>
  new JetStreamApiError({ code, err_code, description });
const requestError = (cause?: Error) => new errors.RequestError(cause?.message, { cause });
const notEnabled = (cause: Error) =>
  Object.assign(new Error("jetstream is not enabled", { cause }), { name: "JetStreamNotEnabled" });
const denied = new errors.PermissionViolationError("no right", "publish", "gavel.u.events.0.l");

test.each<[string, unknown]>([
  ["no answer", new errors.TimeoutError()],
  [
    "no stream receives a published message",
    notEnabled(requestError(new errors.NoRespondersError("s"))),
  ],
  ["the server of the stream is away", answered(500, 10_118, "stream is offline")],
  ["somebody sealed it", answered(400, 10_109, "invalid operation on sealed stream")],
])("a stream is given up after: %s", (_, error) => {
  expect(isOfStream(error)).toBe(true);
});

test.each<[string, unknown]>([
  ["no right to publish", requestError(denied)],
  ["the connection broke", requestError(new errors.ClosedConnectionError())],
  ["JetStream is off for the account", notEnabled(answered(503, 10_039, "not enabled"))],
  ["a limit of the account", answered(400, 10_002, "resource limits exceeded for account")],
  ["a limit of consumers", answered(400, 10_026, "maximum consumers limit reached")],
  ["too little memory", answered(500, 10_028, "insufficient memory resources available")],
  ["a full disk", answered(503, 10_023, "insufficient resources")],
  ["too few servers", answered(400, 10_005, "no suitable peers for placement")],
  ["another relay took over", answered(400, 10_071, "wrong last sequence: 3")],
  ["a setting that it does not take", answered(400, 10_052, "invalid configuration")],
  ["a defect", new TypeError("x is not a function")],
  ["no error", undefined],
])("a stream is not given up after: %s", (_, error) => {
  expect(isOfStream(error)).toBe(false);
});
