/**
 * Fan-out: viewers of one lot over WebSocket while a bidder raises it five times a second. Delivery is
 * timed from the event's own instant (Redis's clock) to its arrival here, so clients and servers must
 * share a machine. Each viewer checks that no event is missing between its first and its last.
 *
 * Environment: GATEWAY, STREAM, LOT, TOKENS (JSON array), VIEWERS (default 200), SECONDS (default 10)
 */
import http from "k6/http";
import { WebSocket } from "k6/websockets";
import { check, sleep } from "k6";
import exec from "k6/execution";
import { Counter, Trend } from "k6/metrics";

const viewers = Number(__ENV.VIEWERS || 200);
const seconds = Number(__ENV.SECONDS || 10);
const tokens = JSON.parse(__ENV.TOKENS);
const delivery = new Trend("delivery_ms");
const frames = new Counter("frames");
const missed = new Counter("missed_events");

export const options = {
  scenarios: {
    viewers: {
      executor: "per-vu-iterations",
      exec: "view",
      vus: viewers,
      iterations: 1,
      maxDuration: `${seconds + 20}s`,
    },
    bidder: {
      executor: "constant-arrival-rate",
      exec: "bid",
      startTime: "3s",
      rate: 5,
      timeUnit: "1s",
      duration: `${seconds}s`,
      preAllocatedVUs: 2,
    },
  },
  summaryTrendStats: ["p(50)", "p(95)", "p(99)", "max"],
  thresholds: {
    missed_events: ["count==0"],
    delivery_ms: ["p(99)<500"],
    frames: [`count>=${viewers * seconds * 4}`],
  },
};

export function setup() {
  missed.add(0);
}

export function view() {
  const socket = new WebSocket(__ENV.STREAM);
  let seq = null;
  socket.onopen = () => socket.send(JSON.stringify({ type: "subscribe", lots: [__ENV.LOT] }));
  socket.onmessage = ({ data }) => {
    const frame = JSON.parse(data);
    if (frame.type === "snapshot") seq = frame.seq;
    if (frame.type !== "bid_accepted") return;
    frames.add(1);
    delivery.add(Date.now() - frame.atMs);
    if (frame.seq !== seq + 1) missed.add(frame.seq - seq - 1);
    seq = frame.seq;
  };
  setTimeout(() => socket.close(), (seconds + 5) * 1000);
}

export function bid() {
  const n = exec.scenario.iterationInTest;
  const body = JSON.stringify({ amountMinor: 8500000000000 + n * 1000 });
  const response = http.post(`${__ENV.GATEWAY}/v1/lots/${__ENV.LOT}/bids`, body, {
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${tokens[0]}`,
      "idempotency-key": `fan-out-${n}`,
    },
  });
  check(response, { "the bid leads": ({ status }) => status === 201 });
  sleep(0);
}
