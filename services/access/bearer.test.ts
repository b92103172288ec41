import { expect, test } from "vitest";
import { bearerToken } from "./bearer.ts";
import { readOrigins } from "./origins.ts";

test("the token of a Bearer header, whatever the case of the scheme", () => {
  expect(bearerToken("Bearer abc.def")).toBe("abc.def");
  expect(bearerToken("bearer  abc.def")).toBe("abc.def");
});

test.each([undefined, "", "abc", "Basic abc", "Bearer", "Bearer ", "Bearer a b", "xBearer a"])(
  "no token in %j",
  (header) => {
    expect(bearerToken(header)).toBeNull();
  },
);

test("origins are a list, compared whole; * allows all, nothing allows none", () => {
  const log = { warn: () => {} };
  expect(readOrigins("https://a.example, https://b.example", log)).toEqual(
    new Set(["https://a.example", "https://b.example"]),
  );
  expect(readOrigins("", log)).toEqual(new Set());
  expect(readOrigins("*", log)).toBeNull();
});
