import Type from "typebox";
import { expect, test } from "vitest";
import { ProcessEnv, readEnv } from "./env.ts";

const schema = Type.Object({
  ...ProcessEnv,
  PORT: Type.Integer({ minimum: 0, maximum: 65_535, default: 8080 }),
  REDIS_URL_FILE: Type.String({ minLength: 1 }),
  STRATEGY: Type.Union([Type.Literal("script"), Type.Literal("optimistic")], { default: "script" }),
});

test("text becomes numbers, what is missing or empty becomes its default, the rest is not looked at", () => {
  const env = { PORT: "9000", REDIS_URL_FILE: "/r", LOG_LEVEL: "", OTHER: "x" };
  expect(readEnv(schema, env)).toEqual({
    PORT: 9000,
    REDIS_URL_FILE: "/r",
    LOG_LEVEL: "info",
    DRAIN_MS: 10_000,
    DRAIN_NOTICE_MS: 0,
    STRATEGY: "script",
  });
});

test("every wrong variable is named at once, and no value is repeated", () => {
  const env = { PORT: "none-hunter2", STRATEGY: "hunter2", LOG_LEVEL: "hunter2" };
  const message = (() => {
    try {
      return readEnv(schema, env);
    } catch (error) {
      return (error as Error).message;
    }
  })();
  for (const name of ["PORT", "STRATEGY", "LOG_LEVEL", "REDIS_URL_FILE"]) {
    expect(message).toContain(name);
  }
  expect(message).not.toContain("hunter2");
});
