import { expect, test, vi } from "vitest";
import { pino } from "pino";
import { SampledLog, withoutSecrets } from "./log.ts";

function kept(level = "info") {
  const lines: Record<string, unknown>[] = [];
  const log = pino({ level, base: null, timestamp: false }, {
    write: (line: string) => lines.push(JSON.parse(line) as Record<string, unknown>),
  } as never);
  return { log, lines };
}

test("passwords in URLs and tokens are taken out of a line, and nothing else", () => {
  const jwt = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhZGEifQ.c2lnbmF0dXJl";
  const cases: [line: string, without: string][] = [
    ["redis://:pa/s?s@w#rd@host:6379", "redis://[redacted]@host:6379"],
    [
      "nats://token@host, postgres://u:p@host/db",
      "nats://[redacted]@host, postgres://[redacted]@host/db",
    ],
    ['{"url":"http://u:p@h","at":"a@b"}', '{"url":"http://[redacted]@h","at":"a@b"}'],
    ["Authorization: Bearer abcdefgh.ijk", "Authorization: Bearer [redacted]"],
    [`token ${jwt} was refused`, "token [redacted] was refused"],
    [`cut short: ${jwt.slice(0, 30)}`, "cut short: [redacted]"],
    ["http://localhost:8080/v1/lots connected", "http://localhost:8080/v1/lots connected"],
    ["lot-1 of bidder ada@example.com", "lot-1 of bidder ada@example.com"],
    ["the bearer of it", "the bearer of it"],
  ];
  for (const [line, without] of cases) expect(withoutSecrets(line)).toBe(without);
});

test("of one kind so many lines a second are written, and one that counts those left out", () => {
  vi.useFakeTimers();
  try {
    const { log, lines } = kept();
    const sampled = new SampledLog(log, 3);
    for (let n = 0; n < 1_000; n++) sampled.info({ n }, "a bid was rejected");
    sampled.warn({}, "another kind");
    expect(lines.map(({ n, msg }) => n ?? msg)).toEqual([0, 1, 2, "another kind"]);
    vi.advanceTimersByTime(1_000);
    expect(lines.at(-1)).toMatchObject({ leftOut: 997, msg: "a bid was rejected" });
    for (let n = 0; n < 4; n++) sampled.info({ n }, "a bid was rejected");
    vi.advanceTimersByTime(1_000);
    expect(lines.slice(5).map(({ n, leftOut }) => n ?? `${leftOut} left out`)).toEqual([
      0,
      1,
      2,
      "1 left out",
    ]);
  } finally {
    vi.useRealTimers();
  }
});

test("a kind that the level leaves out costs nothing and counts nothing", () => {
  vi.useFakeTimers();
  try {
    const { log, lines } = kept("error");
    const sampled = new SampledLog(log, 1);
    for (let n = 0; n < 10; n++) sampled.info({ n }, "a bid was rejected");
    vi.advanceTimersByTime(5_000);
    expect(lines).toEqual([]);
  } finally {
    vi.useRealTimers();
  }
});
