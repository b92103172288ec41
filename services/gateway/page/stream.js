// The live events: one WebSocket that comes back by itself and asks for what it missed.

/** PROTOCOL.md allows so many, with the longest names and places. */
const LOTS_PER_MESSAGE = 100;
/** As many as a socket may watch. */
const LOTS_MAX = 200;
const PING_EVERY_MS = 15_000;
const SILENCE_MAX_MS = 40_000;
/** As PROTOCOL.md asks: all who lost a process come back within this time, */
const SPREAD_MS = 1_000;
/** wait at most so long before the second and the third try, then twice as long each time, */
const BACKOFF_MIN_MS = 500;
const BACKOFF_MAX_MS = 30_000;
/** and give up a try that is not answered, as a process is gone, or the line is slow: twice as late each time. */
const CONNECT_MIN_MS = 1_000;
const CONNECT_MAX_MS = 5_000;
/** A lot that a process cannot show yet is asked for again after so long, and up to twice that. */
const ASK_AGAIN_MS = 2_000;
/** Closes that mean that we, not the line, are at fault: coming back at once would not help. */
const OUR_FAULT = [1002, 1003, 1007, 1008, 1009];

const doubled = (ms, times) => ms * 2 ** Math.max(0, times);

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
  let attempts = 0;
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
    const patienceMs = attempts === 0 ? CONNECT_MAX_MS : doubled(CONNECT_MIN_MS, attempts - 1);
    const giveUp = () => mine.readyState === WebSocket.CONNECTING && mine.close();
    setTimeout(giveUp, Math.min(CONNECT_MAX_MS, patienceMs));
    mine.onopen = () => {
      for (let at = 0; at < watched.length; at += LOTS_PER_MESSAGE) {
        subscribe(watched.slice(at, at + LOTS_PER_MESSAGE));
      }
    };
    mine.onmessage = ({ data }) => {
      heardMs = performance.now();
      const message = JSON.parse(data);
      // Live is a line that talks, not one that opened: a server that only accepts is backed off from.
      if (attempts > 0 || message.type !== "error") onState("live");
      attempts = 0;
      if (message.type === "error" && message.problem.code === "unavailable" && message.lotId) {
        const again = () => socket === mine && subscribe([message.lotId]);
        setTimeout(again, ASK_AGAIN_MS * (1 + Math.random()));
      }
      onMessage(message);
    };
    mine.onclose = ({ code }) => {
      if (socket !== mine) return;
      if (OUR_FAULT.includes(code)) return onState("ended");
      onState("waiting");
      const mostMs = ++attempts === 1 ? SPREAD_MS : doubled(BACKOFF_MIN_MS, attempts - 3);
      clearTimeout(timer);
      timer = setTimeout(connect, Math.random() * Math.min(BACKOFF_MAX_MS, mostMs));
    };
  };

  setInterval(() => {
    if (socket?.readyState !== WebSocket.OPEN) return;
    if (performance.now() - heardMs > SILENCE_MAX_MS) {
      // A dead line closes slowly: do not wait for it.
      const dead = socket;
      socket.onclose({ code: 1006 });
      socket = undefined;
      dead.close();
    } else send({ type: "ping" });
  }, PING_EVERY_MS);

  // A laptop that wakes, or a phone back from a tunnel, need not wait for the backoff.
  addEventListener("online", () => {
    if (socket?.readyState === WebSocket.OPEN) return;
    clearTimeout(timer);
    attempts = 0;
    connect();
  });

  connect();
  return (lotId) => watched.includes(lotId) && subscribe([lotId]);
}
