// HTTP requests to the gateway.

const BID_TIMEOUT_MS = 5_000;
const READ_TIMEOUT_MS = 8_000;
const BID_TRIES = 5;
const RETRY_MAX_MS = 5_000;

const pause = (ms) => new Promise((resolve) => setTimeout(resolve, ms));

/** Reads JSON. @throws Error with the problem's detail */
export async function read(path) {
  const answer = await fetch(path, { signal: AbortSignal.timeout(READ_TIMEOUT_MS) });
  const body = await answer.json();
  if (!answer.ok) throw new Error(body.detail ?? `the gateway answered ${answer.status}`);
  return body;
}

/** Every lot of the auction, page by page. */
export async function readAllLots() {
  const lots = [];
  let cursor = null;
  do {
    const page = await read(`/v1/lots?limit=200${cursor ? `&cursor=${cursor}` : ""}`);
    lots.push(...page.lots);
    cursor = page.nextCursor;
  } while (cursor);
  return lots;
}

/** A unique key for a bid. (crypto.randomUUID is missing on plain http.) */
export function newKey() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * Places a bid, and sends it again with the same key while its outcome is open: no answer, `unknown`,
 * `unavailable`. However often it is sent, it is placed once.
 * @returns {accepted} | {problem} | {unresolved: true}
 */
export async function placeBid({ lotId, amountMinor, key, token }, onRetry) {
  for (let tries = 1; ; tries++) {
    let waitMs = Math.random() * Math.min(RETRY_MAX_MS, 400 * 2 ** tries);
    try {
      const answer = await fetch(`/v1/lots/${encodeURIComponent(lotId)}/bids`, {
        method: "POST",
        headers: {
          "content-type": "application/json",
          "idempotency-key": key,
          authorization: `Bearer ${token}`,
        },
        body: JSON.stringify({ amountMinor }),
        signal: AbortSignal.timeout(BID_TIMEOUT_MS),
      });
      const body = await answer.json();
      if (answer.status === 201) return { accepted: body };
      if (answer.status < 500) return { problem: body };
      waitMs += 1000 * Number(answer.headers.get("retry-after") ?? 0);
    } catch {
      // No answer, or not the gateway's: the bid may have been placed. It is sent again with its key.
    }
    if (tries === BID_TRIES) return { unresolved: true };
    onRetry();
    await pause(Math.min(RETRY_MAX_MS, waitMs));
  }
}
