// The live events: one WebSocket that reconnects by itself and resumes.

/** Lots in one message, at most (PROTOCOL.md). */
const LOTS_PER_MESSAGE = 100;
/** Lots that a socket may subscribe to. */
const LOTS_MAX = 200;
const PING_EVERY_MS = 15_000;
const SILENCE_MAX_MS = 40_000;
/** Waits before the first try to reconnect, before the next two, and at most. As in broadcast/reconnect-policy.ts. */
const SPREAD_MS = 1_000;
const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** Time for a try to open: of the first one, and at most. A process that no longer exists never answers. */
const OPEN_MIN_MS = 1_000;
const OPEN_MAX_MS = 5_000;
const TOO_MANY_MS = 10_000;
/** When the network is back, an open socket answers within this time, or it is dead. */
const ANSWER_MAX_MS = 3_000;
/** A lot answered `unavailable` is subscribed to again after this time, and up to twice of it. */
const ASK_AGAIN_MS = 2_000;
/** Close codes that say that this page is at fault: it does not reconnect. */
const OUR_FAULT = [1002, 1003, 1007, 1008, 1009];
export const mayReconnect = (code) => !OUR_FAULT.includes(code);
const RESTARTING = 1012;
const TOO_MANY_MESSAGES = 4429;

const doubled = (ms, times) => ms * 2 ** Math.max(0, times);

/** The wait before a try: the same as broadcast/reconnect-policy.ts. */
export function waitMs(tries, code, reason, random) {
  if (code === RESTARTING) {
    const told = /^\{"retryAfterMs":(\d{1,5})\}$/.exec(reason);
    if (told) return Number(told[1]);
  }
  if (code === TOO_MANY_MESSAGES) return TOO_MANY_MS;
  const mostMs = tries === 1 ? SPREAD_MS : doubled(BACKOFF_MIN_MS, tries - 3);
  return random() * Math.min(BACKOFF_MAX_MS, mostMs);
}

/** The time for a try to open: the same as broadcast/reconnect-policy.ts. */
export function openMaxMs(tries) {
  return tries === 0 ? OPEN_MAX_MS : Math.min(OPEN_MAX_MS, doubled(OPEN_MIN_MS, tries - 1));
}

/**
 * @param url of the stream
 * @param lotIds to subscribe to
 * @param positionOf the position of a lot to resume from; null for a snapshot
 * @param onMessage gets every message, parsed
 * @param onState "connecting" | "live" | "waiting" | "ended"
 * @returns resubscribe(lotId): subscribes to a lot again, from its position
 */
export function openStream(url, lotIds, positionOf, onMessage, onState) {
  const watched = lotIds.slice(0, LOTS_MAX);
  let socket;
  let tries = 0;
  let isEnded = false;
  let heardMs = 0;
  let timer;

  const send = (message) => {
    if (socket?.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
  };

  const subscribe = (lots) => {
    const since = Object.fromEntries(
      lots.flatMap((lotId) => {
        const seen = positionOf(lotId);
        return seen ? [[lotId, { epoch: seen.epoch, seq: seen.seq }]] : [];
      }),
    );
    send({ type: "subscribe", lots, since });
  };

  const connect = () => {
    onState("connecting");
    const mine = (socket = new WebSocket(url));
    heardMs = performance.now();
    const giveUp = () => mine.readyState === WebSocket.CONNECTING && mine.close();
    setTimeout(giveUp, openMaxMs(tries));
    mine.onopen = () => {
      for (let at = 0; at < watched.length; at += LOTS_PER_MESSAGE) {
        subscribe(watched.slice(at, at + LOTS_PER_MESSAGE));
      }
    };
    mine.onmessage = ({ data }) => {
      heardMs = performance.now();
      const message = JSON.parse(data);
      // The state is live with the first message, not when the socket opens: a server that only accepts must not reset the backoff.
      if (tries > 0 || message.type !== "error") onState("live");
      tries = 0;
      if (message.type === "error" && message.problem.code === "unavailable" && message.lotId) {
        const again = () => socket === mine && subscribe([message.lotId]);
        setTimeout(again, ASK_AGAIN_MS * (1 + Math.random()));
      }
      onMessage(message);
    };
    mine.onclose = ({ code, reason }) => {
      if (socket !== mine) return;
      isEnded = !mayReconnect(code);
      if (isEnded) return onState("ended");
      onState("waiting");
      clearTimeout(timer);
      timer = setTimeout(connect, waitMs(++tries, code, reason, Math.random));
    };
  };

  // A dead socket closes slowly: do not wait for it.
  const drop = () => {
    const dead = socket;
    dead.onclose({ code: 1006, reason: "" });
    socket = undefined;
    dead.close();
  };

  setInterval(() => {
    if (socket?.readyState !== WebSocket.OPEN) return;
    if (performance.now() - heardMs > SILENCE_MAX_MS) drop();
    else send({ type: "ping" });
  }, PING_EVERY_MS);

  // A laptop that wakes, or a phone with a new network, waits neither for the backoff nor for a time limit.
  addEventListener("online", () => {
    if (isEnded) return;
    const before = socket;
    if (before?.readyState === WebSocket.OPEN) {
      const askedMs = performance.now();
      send({ type: "ping" });
      setTimeout(() => socket === before && heardMs < askedMs && drop(), ANSWER_MAX_MS);
      return;
    }
    clearTimeout(timer);
    tries = 0;
    connect();
    before?.close();
  });

  connect();
  return (lotId) => watched.includes(lotId) && subscribe([lotId]);
}
