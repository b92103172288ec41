/**
 * Contention, open loop: bids on one lot arrive at a fixed rate whether or not earlier ones are
 * answered, so that a slow answer cannot hide the ones behind it. `dropped_iterations` are bids that
 * k6 itself could not send: a run with any of them measured k6.
 *
 * Environment: GATEWAY, LOT, TOKENS (JSON array), RATE (bids/s, default 1,000), DURATION (default 10s)
 */
import http from "k6/http";
import { check } from "k6";
import exec from "k6/execution";
import { Counter } from "k6/metrics";

const tokens = JSON.parse(__ENV.TOKENS);
const accepted = new Counter("bids_accepted");

export const options = {
  scenarios: {
    bids: {
      executor: "constant-arrival-rate",
      rate: Number(__ENV.RATE || 1000),
      timeUnit: "1s",
      duration: __ENV.DURATION || "10s",
      preAllocatedVUs: 100,
      maxVUs: 400,
    },
  },
  summaryTrendStats: ["p(50)", "p(95)", "p(99)", "max"],
  thresholds: {
    checks: ["rate==1"],
    http_req_duration: ["p(99)<250"],
    dropped_iterations: ["count==0"],
  },
};

export default function () {
  const n = exec.scenario.iterationInTest;
  // Every third bid is meant to lead; the others are too low, as most bids in a contest are.
  const amountMinor = n % 3 === 0 ? 8100000000000 + n * 1000 : 1;
  const url = `${__ENV.GATEWAY}/v1/lots/${__ENV.LOT}/bids`;
  const response = http.post(url, JSON.stringify({ amountMinor }), {
    headers: {
      "content-type": "application/json",
      authorization: `Bearer ${tokens[n % tokens.length]}`,
      "idempotency-key": `k6-${n}`,
    },
    tags: { name: "POST /v1/lots/{lotId}/bids" },
  });
  if (response.status === 201) accepted.add(1);
  check(response, { "a bid is decided": ({ status }) => status === 201 || status === 409 });
}
