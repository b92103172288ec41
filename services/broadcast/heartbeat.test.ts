import { expect, test } from "vitest";
import { Heartbeat, PING_EVERY_MS } from "./heartbeat.ts";

test("a viewer is pinged once a round, and given up when it was silent for one", () => {
  const pings: string[] = [];
  const gone: string[] = [];
  const heartbeat = new Heartbeat<{ name: string; hasSentSincePing: boolean }>(
    ({ name }) => pings.push(name),
    (member) => {
      gone.push(member.name);
      leave.get(member.name)!();
    },
  );
  const members = Array.from({ length: 60 }, (_, i) => ({
    name: `viewer-${i}`,
    hasSentSincePing: true,
  }));
  const leave = new Map(members.map((member) => [member.name, heartbeat.add(member)]));
  const round = () => {
    for (let i = 0; i < 25; i++) heartbeat.beat();
  };
  round();
  expect(pings.toSorted()).toEqual(members.map(({ name }) => name).toSorted());
  for (const member of members.slice(1)) member.hasSentSincePing = true;
  round();
  expect(gone).toEqual(["viewer-0"]);
  leave.get("viewer-1")!();
  pings.length = 0;
  for (const member of members) member.hasSentSincePing = true;
  round();
  expect(pings).toHaveLength(58);
  // Dead right after a pong: silent from that ping on, found at the second one after it.
  expect(2 * PING_EVERY_MS).toBeLessThanOrEqual(60_000);
});

test("no beat pings many more viewers than another", () => {
  let pings = 0;
  const heartbeat = new Heartbeat<{ hasSentSincePing: boolean }>(
    () => pings++,
    () => {},
  );
  for (let i = 0; i < 1_000; i++) heartbeat.add({ hasSentSincePing: true });
  for (let i = 0; i < 25; i++) {
    pings = 0;
    heartbeat.beat();
    expect(pings).toBe(40);
  }
});
