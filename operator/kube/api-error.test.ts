import { expect, test } from "vitest";
import {
  ApiError,
  classifyAnswer,
  classifyFailure,
  fieldConflictsOf,
  isApiError,
} from "./api-error.ts";

const status = (reason: string, message: string, details: object = {}) =>
  JSON.stringify({ kind: "Status", status: "Failure", reason, message, details });

test("each answer is classified by what the caller can do about it", () => {
  const kinds: [number, string, string][] = [
    [400, status("BadRequest", "metadata.managedFields must be nil"), "invalid"],
    [401, status("Unauthorized", "Unauthorized"), "unauthorized"],
    [403, status("Forbidden", "no"), "forbidden"],
    [404, status("NotFound", "not found"), "not_found"],
    [404, "404 page not found", "not_found"],
    [405, status("MethodNotAllowed", "no"), "invalid"],
    [409, status("AlreadyExists", "exists"), "already_exists"],
    [409, status("Conflict", "the object has been modified"), "conflict"],
    [410, status("Expired", "too old resource version"), "gone"],
    [413, status("RequestEntityTooLarge", "too large"), "invalid"],
    [415, status("UnsupportedMediaType", "no"), "invalid"],
    [422, status("Invalid", "spec.replicas: must be 0 or more"), "invalid"],
    [429, status("TooManyRequests", "slower"), "throttled"],
    [500, status("InternalError", "etcdserver: request timed out"), "unavailable"],
    [502, "<html>Bad Gateway</html>", "unavailable"],
    [503, status("ServiceUnavailable", "no endpoints"), "unavailable"],
    [504, status("Timeout", "request did not complete"), "timeout"],
    [302, "", "unexpected"],
  ];
  for (const [code, body, kind] of kinds) {
    expect([code, body, classifyAnswer(code, body).kind]).toEqual([code, body, kind]);
  }
});

test("a schema error with status 500 is invalid: a retry would fail as well", () => {
  const message =
    "failed to create typed patch object (default/a; apps/v1, Kind=Deployment): .spec.someFutureField: field not declared in schema";
  expect(classifyAnswer(500, status("", message)).kind).toBe("invalid");
});

test("a JSON patch whose test fails is a conflict, an invalid object is not", () => {
  const words = "the server rejected our request due to an error in our request";
  expect(classifyAnswer(422, status("Invalid", words)).kind).toBe("conflict");
  expect(classifyAnswer(422, status("Invalid", 'Auction "a" is invalid')).kind).toBe("invalid");
});

test("Retry-After is read from the header or the body, up to a limit", () => {
  expect(classifyAnswer(429, "", "7").retryAfterMs).toBe(7_000);
  expect(classifyAnswer(429, status("", "", { retryAfterSeconds: 3 })).retryAfterMs).toBe(3_000);
  expect(classifyAnswer(429, "", "86400").retryAfterMs).toBe(300_000);
  expect(classifyAnswer(429, "", "soon").retryAfterMs).toBeNull();
  const date = new Date(Date.now() + 60_000).toUTCString();
  expect(classifyAnswer(503, "", date).retryAfterMs).toBeGreaterThan(50_000);
});

test("an answer without a valid Status is classified by its HTTP status alone", () => {
  for (const body of ["", "null", "[]", "42", '{"details":7}', '{"details":{"causes":3}}', "{"]) {
    expect(classifyAnswer(503, body).kind).toBe("unavailable");
  }
  expect(classifyAnswer(502, "<html>").message).toBe("HTTP 502 <html>");
});

test("an expired deadline is a timeout, and any other connection failure is unavailable", () => {
  const withCode = (code: string) => Object.assign(new Error("broken"), { code });
  expect(classifyFailure(new DOMException("late", "TimeoutError")).kind).toBe("timeout");
  expect(classifyFailure(withCode("UND_ERR_HEADERS_TIMEOUT")).kind).toBe("timeout");
  expect(classifyFailure(withCode("ECONNRESET"))).toMatchObject({
    kind: "unavailable",
    reason: "ECONNRESET",
    message: "broken (ECONNRESET)",
  });
  expect(classifyFailure("odd").kind).toBe("unavailable");
});

test("an error names its kind, its request, and the fields that other managers own", () => {
  const conflicts = {
    causes: [
      { reason: "FieldManagerConflict", field: ".spec.replicas", message: 'conflict with "hpa"' },
      { reason: "Other", field: "x", message: "y" },
    ],
  };
  const answer = classifyAnswer(409, status("Conflict", "Apply failed", conflicts));
  const error = new ApiError("PATCH /apis/x", answer);
  expect(error.message).toBe("PATCH /apis/x: Apply failed");
  expect(isApiError(error)).toBe(true);
  expect(isApiError(error, "not_found", "conflict")).toBe(true);
  expect(isApiError(error, "not_found")).toBe(false);
  expect(isApiError(new Error("x"))).toBe(false);
  expect(fieldConflictsOf(error)).toEqual([
    { field: ".spec.replicas", message: 'conflict with "hpa"' },
  ]);
  expect(fieldConflictsOf(new Error("x"))).toEqual([]);
});
