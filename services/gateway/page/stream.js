// The live events: one WebSocket that comes back by itself and asks for what it missed.

/** PROTOCOL.md allows so many, with the longest names and places. */
const LOTS_PER_MESSAGE = 100;
/** As many as a socket may watch. */
const LOTS_MAX = 200;
const PING_EVERY_MS = 15_000;
const SILENCE_MAX_MS = 40_000;
/** Before the first try to come back, before the next two, and at most. As broadcast/come-back.ts. */
const SPREAD_MS = 1_000;
const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** A try that reached a process which is gone is not answered at all: the first one's patience, and the last ones'. */
const OPEN_MIN_MS = 1_000;
const OPEN_MAX_MS = 5_000;
const TOO_MANY_MS = 10_000;
/** When the network is back, an open line answers within this time, or it is dead. */
const ANSWER_MAX_MS = 3_000;
/** A lot that a process cannot show yet is asked for again after so long, and up to twice that. */
const ASK_AGAIN_MS = 2_000;
/** Closes that mean that we, not the line, are at fault: coming back at once would not help. */
const OUR_FAULT = [1002, 1003, 1007, 1008, 1009];
export const mayReconnect = (code) => !OUR_FAULT.includes(code);
const RESTARTING = 1012;
const TOO_MANY_MESSAGES = 4429;

const doubled = (ms, times) => ms * 2 ** Math.max(0, times);

/** How long to wait before a try: the same as broadcast/come-back.ts. */
export function waitMs(tries, code, reason, random) {
  if (code === RESTARTING) {
    const told = /^\{"retryAfterMs":(\d{1,5})\}$/.exec(reason);
    if (told) return Number(told[1]);
  }
  if (code === TOO_MANY_MESSAGES) return TOO_MANY_MS;
  const mostMs = tries === 1 ? SPREAD_MS : doubled(BACKOFF_MIN_MS, tries - 3);
  return random() * Math.min(BACKOFF_MAX_MS, mostMs);
}

/** How long a try may take to open: the same as broadcast/come-back.ts. */
export function openMaxMs(tries) {
  return tries === 0 ? OPEN_MAX_MS : Math.min(OPEN_MAX_MS, doubled(OPEN_MIN_MS, tries - 1));
}

/**
 * @param url of the stream
 * @param lotIds what to watch
 * @param seenOf the (epoch, seq) that is known of a lot, to resume from; null for a snapshot
 * @param onMessage gets every message, read
 * @param onState "connecting" | "live" | "waiting" | "ended"
 * @returns resubscribe(lotId): asks for a lot again, from what is known of it
 */
export function openStream(url, lotIds, seenOf, onMessage, onState) {
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
        const seen = seenOf(lotId);
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
      // Live is a line that talks, not one that opened: a server that only accepts is backed off from.
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

  // A dead line closes slowly: do not wait for it.
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

  // A laptop that wakes, or a phone back from a tunnel, need not wait for the backoff, nor for the silence.
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
