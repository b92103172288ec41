// The auction's page: reads the auction once, then follows its stream.
import { createCard } from "./card.js";
import { newKey, placeBid, read, readAllLots } from "./gateway.js";
import { bidderOf, keepToken, takeToken } from "./identity.js";
import { applyEvent, isAfter } from "./lot.js";
import { amountReader, currencyPrinter, inputPrinter } from "./money.js";
import { openStream } from "./stream.js";

const HISTORY_PAGE = 20;
const HISTORY_MAX = 500;
const TICK_MS = 200;
const START_RETRY_MS = 3_000;

const byId = (id) => document.getElementById(id);
const CONNECTION = {
  connecting: "connecting",
  live: "live",
  waiting: "connection lost, trying again",
  ended: "disconnected: reload the page",
};

let auction;
let money;
let printInput;
let readAmount;
let token = takeToken();
let me = token && bidderOf(token);
let live = false;
let resubscribe = () => {};
/** Redis's clock minus this browser's performance.now(): the wall clock may be changed meanwhile. */
let clockMs = 0;
const lots = new Map(); // lotId -> {lot, card, bidOn, pending, history}

const nowMs = () => performance.now() + clockMs;

function notice(text) {
  byId("notice").textContent = text;
  byId("notice").hidden = text === "";
}

async function start() {
  try {
    const askedMs = performance.now();
    auction = await read("/v1/auction");
    // The server read its clock about half-way between request and answer.
    clockMs = auction.serverTimeMs - (askedMs + performance.now()) / 2;
    const all = await readAllLots();
    notice("");
    const locale = [...navigator.languages];
    money = currencyPrinter(auction, locale);
    printInput = inputPrinter(auction, locale);
    readAmount = amountReader(auction, locale);
    document.title = auction.title;
    byId("title").textContent = auction.title;
    byId("about").textContent =
      `${all.length} ${all.length === 1 ? "lot" : "lots"}, in ${auction.currency}`;
    for (const lot of all) addLot(lot);
    resubscribe = openStream(auction.streamUrl, [...lots.keys()], positionOf, onMessage, onState);
    setInterval(tick, TICK_MS);
  } catch (error) {
    notice(`The auction cannot be read yet (${error.message}). Trying again.`);
    setTimeout(start, START_RETRY_MS);
  }
}

const positionOf = (lotId) => lots.get(lotId)?.lot;

function addLot(lot) {
  const entry = { lot, bidOn: wasBidOn(lot.lotId), pending: null, history: null };
  entry.card = createCard({
    bid: (text) => bid(entry, text),
    openHistory: () => void loadHistory(entry, null),
    older: () => void loadHistory(entry, entry.history.nextCursor),
  });
  lots.set(lot.lotId, entry);
  byId("lots").append(entry.card.element);
  show(entry);
}

function show(entry) {
  const { lot, card } = entry;
  card.show(lot, { money, printInput, currency: auction.currency, mine: mineOf(entry) });
  card.tick(lot, nowMs());
}

function mineOf({ lot, bidOn }) {
  if (me === null || lot.leadingBid === null) return "none";
  if (lot.leadingBid.bidderId === me) return "leading";
  return bidOn ? "outbid" : "none";
}

function tick() {
  for (const { lot, card } of lots.values()) card.tick(lot, nowMs());
}

function onState(state) {
  live = state === "live";
  const pill = byId("connection");
  if (pill.dataset.state === state) return;
  pill.dataset.state = state;
  pill.textContent = CONNECTION[state];
}

function onMessage(message) {
  const { serverTimeMs, lotId } = message;
  if (serverTimeMs) clockMs = serverTimeMs - performance.now();
  const entry = lots.get(lotId);
  if (!entry) return;
  if (message.type === "snapshot") {
    const { type, serverTimeMs: _, recovered, conflated, ...lot } = message;
    return become(entry, lot);
  }
  if (!("seq" in message)) return;
  const after = applyEvent(entry.lot, message);
  if (after === null) return resubscribe(lotId); // a gap: resume from the last event
  if (message.type === "bid_accepted" && after !== entry.lot) addToHistory(entry, message);
  become(entry, after);
}

function become(entry, lot) {
  if (entry.lot === lot) return;
  entry.lot = lot;
  if (lot.leadingBid?.bidderId === me) rememberBidOn(entry);
  show(entry);
}

// Bidding

/** Places the bid that was typed; asks first if its amount is ambiguous. */
function bid(entry, text) {
  const { lot, card } = entry;
  if (!token) {
    byId("token").focus();
    return card.answer("Paste your token first, at the top of the page.", "bad");
  }
  const amount = readAmount(text);
  if (amount?.choices) {
    return card.ask(
      "Your bid is not clear. Did you mean",
      amount.choices.map((minor) => [money(minor), () => void place(entry, minor)]),
    );
  }
  if (amount === null || amount.minor === 0) {
    const digits = auction.minorUnitDigits;
    const places = digits === 0 ? "without decimals" : `with at most ${digits} decimals`;
    return card.answer(
      `Write an amount ${places}, such as ${printInput(lot.minimumMinor)}.`,
      "bad",
    );
  }
  void place(entry, amount.minor);
}

async function place(entry, amountMinor) {
  const { card } = entry;
  const { lotId } = entry.lot;
  // A bid without a known outcome keeps its key: sent again, it is the same bid.
  const again = entry.pending?.amountMinor === amountMinor && entry.pending.token === token;
  entry.pending = again ? entry.pending : { lotId, amountMinor, key: newKey(), token };
  card.busy(true);
  card.answer("Sending …");
  const result = await placeBid(entry.pending, () =>
    card.answer("No clear answer yet: asking again. The bid is placed at most once."),
  );
  card.busy(false);
  if (result.unresolved) {
    card.answer("Still no answer. Press “Place bid” again: it is the same bid.", "bad");
    return;
  }
  entry.pending = null;
  card.forgetTyped();
  if (result.accepted) {
    rememberBidOn(entry);
    card.answer(`Your bid of ${money(amountMinor)} was accepted.`, "good");
  } else card.answer(refusal(result.problem), "bad");
  if (!live) await refresh(entry);
  show(entry);
}

function refusal({ code, minimumMinor, maximumMinor, detail, title }) {
  switch (code) {
    case "too_low":
      return `Too low by now: ${money(minimumMinor)} is the least.`;
    case "jump_too_large":
      return `Too far above the last bid: ${money(maximumMinor)} is the most for now.`;
    case "not_open":
      return "The lot is not open yet.";
    case "closed":
      return "Too late: the lot is closed.";
    case "withdrawn":
      return "The lot was withdrawn.";
    case "suspended":
      return "Bidding is suspended for now; the lot will close later by as long.";
    case "unauthenticated":
      return "Your token is not valid (any more). Paste a new one above.";
    case "forbidden":
      return "Your token does not allow bidding.";
    default:
      return detail ?? title ?? "The bid was refused.";
  }
}

/** Shows the answer to one's own bid while the stream is down. */
async function refresh(entry) {
  try {
    const lot = await read(`/v1/lots/${encodeURIComponent(entry.lot.lotId)}`);
    if (isAfter(lot, entry.lot)) become(entry, lot);
  } catch {
    // The stream brings it after the reconnect.
  }
}

const bidOnKey = (lotId) => `gavel.bidOn.${auction.uid}.${me}.${lotId}`;
const wasBidOn = (lotId) => me !== null && sessionStorage.getItem(bidOnKey(lotId)) !== null;

function rememberBidOn(entry) {
  if (entry.bidOn || me === null) return;
  entry.bidOn = true;
  sessionStorage.setItem(bidOnKey(entry.lot.lotId), "1");
}

// History

async function loadHistory(entry, cursor) {
  const { lot, card } = entry;
  const query = `limit=${HISTORY_PAGE}${cursor ? `&cursor=${cursor}` : ""}`;
  try {
    const page = await read(`/v1/lots/${encodeURIComponent(lot.lotId)}/bids?${query}`);
    const known = cursor ? entry.history.bids : [];
    entry.history = {
      bids: [...known, ...page.bids].slice(0, HISTORY_MAX),
      nextCursor: page.nextCursor,
    };
    if (me !== null && page.bids.some(({ bidderId }) => bidderId === me)) rememberBidOn(entry);
    showHistory(entry);
    show(entry);
  } catch (error) {
    card.answer(error.message, "bad");
  }
}

function addToHistory(entry, { bidderId, amountMinor, epoch, seq, atMs: placedAtMs }) {
  if (entry.history === null || !entry.card.isHistoryOpen()) return;
  const [newest] = entry.history.bids;
  const bid = { bidderId, amountMinor, epoch, seq, placedAtMs };
  if (newest && !isAfter(bid, newest)) return;
  entry.history.bids = [bid, ...entry.history.bids].slice(0, HISTORY_MAX);
  showHistory(entry);
}

function showHistory({ card, history: { bids, nextCursor } }) {
  card.showHistory(bids, nextCursor !== null && bids.length < HISTORY_MAX, { money, me });
}

// Identity

function showIdentity() {
  byId("enter").hidden = token !== null;
  byId("leave").hidden = token === null;
  byId("bidder").hidden = token === null;
  byId("bidder").textContent = me === null ? "a token that cannot be read" : `Bidding as ${me}`;
}

function actAs(newToken) {
  token = newToken || null;
  me = token && bidderOf(token);
  keepToken(token);
  showIdentity();
  for (const entry of lots.values()) {
    entry.bidOn = wasBidOn(entry.lot.lotId);
    entry.card.answer("");
    show(entry);
  }
}

byId("identity").addEventListener("submit", (event) => {
  event.preventDefault();
  actAs(byId("token").value.trim());
  byId("token").value = "";
});
byId("leave").addEventListener("click", () => actAs(null));
addEventListener("hashchange", () => actAs(takeToken()));

showIdentity();
void start();
