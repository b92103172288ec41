import { expect, test } from "vitest";
import { chooseSources, isOlder, type Machine, type Sources } from "./choose-sources.ts";

const ALL = { redis: true, nats: true, postgres: true };
const NONE = { redis: false, nats: false, postgres: false };

test.each<[string, Machine, Partial<Sources>, string[]]>([
  [
    "what is on PATH",
    { programs: ALL, docker: true, apt: true },
    {},
    ["program", "program", "program"],
  ],
  [
    "Docker for what is not on PATH",
    { programs: { ...ALL, nats: false }, docker: true, apt: true },
    {},
    ["program", "docker", "program"],
  ],
  [
    "the package manager where Docker does not answer",
    { programs: { ...NONE, redis: true }, docker: false, apt: true },
    {},
    ["program", "install", "install"],
  ],
  [
    "nothing where there is nothing",
    { programs: NONE, docker: false, apt: false },
    {},
    ["unavailable", "unavailable", "unavailable"],
  ],
  [
    "Docker again where the data is, although PATH has it by now",
    { programs: ALL, docker: true, apt: true },
    { postgres: "docker" },
    ["program", "program", "docker"],
  ],
  [
    "nothing in place of a Docker that holds the data and does not answer",
    { programs: ALL, docker: false, apt: true },
    { redis: "docker" },
    ["docker-down", "program", "program"],
  ],
  [
    "an installation rather than a Docker that has none of a program's data",
    { programs: { ...ALL, postgres: false }, docker: true, apt: true },
    { postgres: "program" },
    ["program", "program", "install"],
  ],
])("chooseSources() takes %s", (_, machine, before, expected) => {
  expect(Object.values(chooseSources(machine, before))).toEqual(expected);
});

test("isOlder() compares versions by their parts", () => {
  expect(isOlder("2.9.10", "2.9.10")).toBe(false);
  expect(isOlder("2.9.9", "2.9.10")).toBe(true);
  expect(isOlder("2.10.1", "2.9.10")).toBe(false);
  expect(isOlder("14.9", "15")).toBe(true);
  expect(isOlder("15.18", "15")).toBe(false);
  expect(isOlder("7", "7.0.15")).toBe(true);
});
