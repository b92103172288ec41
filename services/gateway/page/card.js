// One lot on the page. Data from outside is inserted as text, never as HTML.

const STATUS = {
  scheduled: "not open yet",
  open: "open",
  closed: "closed",
  withdrawn: "withdrawn",
};
const SOON_MS = 60_000;

/** Builds a card. @param actions of its buttons */
export function createCard(actions) {
  const element = document.getElementById("lot").content.firstElementChild.cloneNode(true);
  const at = (selector) => element.querySelector(selector);
  const parts = {
    name: at(".name"),
    status: at(".status"),
    amountLabel: at(".amount-label"),
    amount: at(".amount"),
    leader: at(".leader"),
    timeLabel: at(".time-label"),
    time: at(".time"),
    count: at(".count"),
    reserve: at(".reserve"),
    form: at(".bid"),
    minimum: at(".minimum"),
    currency: at(".currency"),
    input: at(".bid input"),
    button: at(".bid button"),
    answer: at(".answer"),
    history: at(".history"),
    list: at(".history ol"),
    older: at(".older"),
  };
  /** Fills in the minimum where the bidder has typed no amount. */
  let typed = false;
  parts.input.addEventListener("input", () => (typed = parts.input.value !== ""));
  parts.form.addEventListener("submit", (event) => {
    event.preventDefault();
    actions.bid(parts.input.value);
  });
  parts.history.addEventListener("toggle", () => parts.history.open && actions.openHistory());
  parts.older.addEventListener("click", () => actions.older());

  return {
    element,
    isHistoryOpen: () => parts.history.open,
    /** Draws the lot. `mine` is "leading", "outbid" or "none". */
    show(lot, { money, printInput, currency, mine }) {
      const { leadingBid, outcome } = lot;
      element.dataset.lot = lot.lotId;
      element.dataset.mine = mine;
      parts.name.textContent = lot.title || lot.lotId;
      parts.status.textContent = outcome === "sold" ? "sold" : STATUS[lot.status];
      parts.status.dataset.state = lot.status;
      parts.amountLabel.textContent = amountLabel(lot);
      const amount = money(leadingBid ? leadingBid.amountMinor : lot.minimumMinor);
      if (parts.amount.textContent !== amount) {
        if (parts.amount.textContent !== "" && leadingBid) restart(parts.amount, "risen");
        parts.amount.textContent = amount;
      }
      parts.leader.textContent = leaderText(lot, mine);
      parts.count.textContent = String(lot.bidCount);
      parts.reserve.textContent = reserveText(lot, money);
      parts.form.hidden = lot.status === "closed" || lot.status === "withdrawn";
      parts.minimum.textContent = `Your bid, ${money(lot.minimumMinor)} or more`;
      parts.input.setAttribute("aria-label", `Your bid on ${lot.title}`);
      parts.currency.textContent = currency;
      if (!typed) parts.input.value = printInput(lot.minimumMinor);
    },
    tick(lot, nowMs) {
      const [label, text, soon] = timeText(lot, nowMs);
      if (parts.timeLabel.textContent !== label) parts.timeLabel.textContent = label;
      if (parts.time.textContent !== text) parts.time.textContent = text;
      parts.time.toggleAttribute("data-soon", soon);
    },
    answer(text, tone = "") {
      parts.answer.textContent = text;
      parts.answer.dataset.tone = tone;
    },
    /** Asks for one of the choices, each a text and its action. */
    ask(question, choices) {
      const buttons = choices.map(([text, choose]) => {
        const button = document.createElement("button");
        button.type = "button";
        button.className = "quiet";
        button.textContent = text;
        button.addEventListener("click", choose);
        return button;
      });
      const between = buttons.flatMap((button, i) => [i === 0 ? " " : " or ", button]);
      parts.answer.replaceChildren(question, ...between, "?");
      parts.answer.dataset.tone = "";
    },
    busy(is) {
      parts.button.disabled = is;
    },
    /** Lets the next minimum fill the box again. */
    forgetTyped() {
      typed = false;
    },
    showHistory(bids, hasOlder, { money, me }) {
      parts.list.replaceChildren(...bids.map((bid) => historyLine(bid, money, me)));
      parts.older.hidden = !hasOlder;
    },
  };
}

function amountLabel({ leadingBid, status, outcome }) {
  if (outcome === "sold") return "Sold for";
  if (outcome === "reserve_not_met") return "Not sold: reserve not met. Leading bid";
  if (outcome === "no_bids") return "Not sold: no bids. Started at";
  if (status === "withdrawn") return "Withdrawn";
  return leadingBid ? "Leading bid" : "Starts at";
}

function leaderText({ leadingBid, status, outcome }, mine) {
  if (!leadingBid) return status === "open" ? "No bids yet" : "";
  const { bidderId } = leadingBid;
  if (outcome === "sold") return mine === "leading" ? "It is yours" : `to ${bidderId}`;
  if (mine === "leading") return "You lead";
  return mine === "outbid" ? `You are outbid by ${bidderId}` : `by ${bidderId}`;
}

function reserveText({ reserveMet, reserveMinor }, money) {
  const state = reserveMet === null ? "–" : reserveMet ? "met" : "not met";
  if (reserveMinor === null) return state;
  return reserveMet === null ? money(reserveMinor) : `${state} (${money(reserveMinor)})`;
}

/** @returns [label, text, whether it is about to close] */
function timeText({ status, opensAtMs, closesAtMs, extensions }, nowMs) {
  if (status === "closed" || status === "withdrawn") {
    return [status === "closed" ? "Closed" : "Withdrawn", clock(closesAtMs), false];
  }
  if (opensAtMs === null) return ["Opens", "soon", false];
  if (nowMs < opensAtMs) return ["Opens in", duration(opensAtMs - nowMs), false];
  const leftMs = closesAtMs - nowMs;
  const label = extensions > 0 ? `Closes in (extended ${extensions}×)` : "Closes in";
  return leftMs <= 0 ? ["Closes", "now", true] : [label, duration(leftMs), leftMs < SOON_MS];
}

function duration(ms) {
  const seconds = Math.ceil(ms / 1000);
  const two = (n) => String(n).padStart(2, "0");
  const days = Math.floor(seconds / 86_400);
  const hours = Math.floor((seconds % 86_400) / 3_600);
  const minutes = Math.floor((seconds % 3_600) / 60);
  if (days > 0) return `${days} d ${hours} h`;
  const rest = `${two(minutes)}:${two(seconds % 60)}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

function clock(ms) {
  return ms === null ? "" : new Date(ms).toLocaleTimeString();
}

function historyLine({ bidderId, amountMinor, placedAtMs }, money, me) {
  const line = document.createElement("li");
  const add = (name, text, className) => {
    const child = document.createElement(name);
    child.textContent = text;
    if (className) child.className = className;
    line.append(child);
  };
  add("span", money(amountMinor), "much");
  add("span", bidderId === me ? "you" : bidderId, bidderId === me ? "who mine" : "who");
  add("time", clock(placedAtMs));
  return line;
}

function restart(element, className) {
  element.classList.remove(className);
  void element.offsetWidth; // restarts the animation
  element.classList.add(className);
}
