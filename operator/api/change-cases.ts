/**
 * Changes of an Auction, each with the phases in which it is refused and, if so, the path and message
 * of it. In all other phases it is allowed. The TypeScript twin runs them here, an API server on the CRD.
 */
import { auctionWith, type Complaint } from "./auction-cases.ts";
import { type Phase, PHASES } from "./auction-status.ts";

interface ChangeCase extends Complaint {
  readonly name: string;
  readonly before: unknown;
  readonly now: unknown;
  readonly refusedIn: readonly Phase[];
}

const NEVER: readonly Phase[] = [];
const PROVISIONED = PHASES.slice(PHASES.indexOf("Scheduled"));
const OPENED = PHASES.slice(PHASES.indexOf("Open"));
const OVER = PHASES.slice(PHASES.indexOf("Closed"));

const OPENS = "2026-12-01T18:00:00Z";
const CLOSES = "2026-12-01T20:00:00Z";
const LATER = "2026-12-01T21:00:00Z";
const LOTS = [
  { id: "a", startMinor: 1 },
  { id: "b", startMinor: 1 },
];
const timed = { schedule: { opensAt: OPENS, closesAt: CLOSES } };
const untimed = { schedule: { lasts: "30m" } };
const EXTERNAL = { mode: "External", external: { secretRef: { name: "s" } } };

type Parts = Record<string, unknown>;
const spec = (parts: Parts) => auctionWith({ ...timed, lots: LOTS, ...parts });

function change(
  name: string,
  refusedIn: readonly Phase[],
  before: Parts,
  now: Parts,
  path = "",
  message = /^$/,
): ChangeCase {
  return { name, refusedIn, before: spec(before), now: spec(now), path, message };
}

const allowed = (name: string, before: Parts, now: Parts) => change(name, NEVER, before, now);

export const CHANGE_CASES: readonly ChangeCase[] = [
  allowed("nothing at all", {}, {}),
  allowed(
    "a duration written in another way",
    { rules: { antiSniping: { window: "2m" } } },
    {
      rules: { antiSniping: { window: "120s" } },
    },
  ),
  allowed(
    "an instant written in another way",
    {},
    {
      schedule: { opensAt: "2026-12-01T19:00:00+01:00", closesAt: "2026-12-01T20:00:00.000Z" },
    },
  ),
  allowed("more replicas", {}, { tiers: { gateway: { replicas: 3 } } }),
  allowed("an image", {}, { tiers: { archival: { image: "gavel:2" } } }),
  allowed("the access", {}, { access: { jwksUrl: "https://id.example.com/keys" } }),
  allowed("the exposure", {}, { exposure: { host: "a.example.com", ingress: {} } }),
  allowed("the end of it", {}, { deletion: { onTimeout: "Release", drainTimeout: "1h" } }),
  allowed(
    "the Secret of an External store",
    { backing: { redis: EXTERNAL } },
    {
      backing: { redis: { mode: "External", external: { secretRef: { name: "t" } } } },
    },
  ),
  allowed(
    "the same volume, spelled out",
    {},
    { backing: { redis: { managed: { storage: { size: "1Gi" } } } } },
  ),

  change(
    "an increment",
    OPENED,
    {},
    { rules: { increments: [{ fromMinor: 0, stepMinor: 7 }] } },
    "spec.rules",
    /rules are frozen/,
  ),
  change(
    "anti-sniping",
    OPENED,
    {},
    { rules: { antiSniping: { maxExtensions: 1 } } },
    "spec.rules",
    /rules are frozen/,
  ),
  change("the currency", OPENED, {}, { currency: "USD" }, "spec.currency", /frozen/),
  change(
    "the minor unit",
    OPENED,
    { currency: "QQQ", minorUnitDigits: 2 },
    { currency: "QQQ", minorUnitDigits: 0 },
    "spec.currency",
    /frozen/,
  ),
  allowed("the currency's own digits, spelled out", {}, { minorUnitDigits: 2 }),
  allowed("the currency's own digits, left out", { minorUnitDigits: 2 }, {}),
  change(
    "a lot's start",
    OPENED,
    {},
    { lots: [{ id: "a", startMinor: 2 }, LOTS[1]] },
    "spec.lots",
    /lots are frozen/,
  ),
  change(
    "a reserve",
    OPENED,
    { lots: [{ ...LOTS[0], reserveMinor: 5 }] },
    { lots: [{ ...LOTS[0], reserveMinor: 4 }] },
    "spec.lots",
    /lots are frozen/,
  ),
  change(
    "a lot more",
    OPENED,
    {},
    { lots: [...LOTS, { id: "c", startMinor: 1 }] },
    "spec.lots",
    /lots are frozen/,
  ),
  change("a lot less", OPENED, {}, { lots: [LOTS[0]] }, "spec.lots", /lots are frozen/),
  change(
    "the order of the lots",
    OPENED,
    {},
    { lots: [LOTS[1], LOTS[0]] },
    "spec.lots",
    /lots are frozen/,
  ),
  change(
    "the opening",
    OPENED,
    {},
    { schedule: { opensAt: "2026-12-01T18:00:01Z", closesAt: CLOSES } },
    "spec.schedule.opensAt",
    /opensAt is fixed/,
  ),
  change(
    "an opening taken away",
    OPENED,
    {},
    { schedule: { closesAt: CLOSES } },
    "spec.schedule.opensAt",
    /opensAt is fixed/,
  ),
  change(
    "an opening where there was none",
    OPENED,
    untimed,
    { schedule: { lasts: "30m", opensAt: OPENS } },
    "spec.schedule.opensAt",
    /opensAt is fixed/,
  ),
  change(
    "an earlier close",
    OPENED,
    {},
    { schedule: { opensAt: OPENS, closesAt: "2026-12-01T19:59:59Z" } },
    "spec.schedule.closesAt",
    /only move later/,
  ),
  change(
    "a later close",
    OVER,
    {},
    { schedule: { opensAt: OPENS, closesAt: LATER } },
    "spec.schedule",
    /schedule is fixed/,
  ),
  change(
    "a length cut",
    OPENED,
    untimed,
    { schedule: { lasts: "29m" } },
    "spec.schedule.lasts",
    /only grow/,
  ),
  change(
    "a length grown",
    OVER,
    untimed,
    { schedule: { lasts: "1h" } },
    "spec.schedule",
    /schedule is fixed/,
  ),
  change(
    "a length in place of a close",
    OPENED,
    {},
    { schedule: { opensAt: OPENS, lasts: "9h" } },
    "spec.schedule.lasts",
    /only grow/,
  ),
  change(
    "a close in place of a length",
    OPENED,
    untimed,
    { schedule: { closesAt: CLOSES } },
    "spec.schedule.closesAt",
    /only move later/,
  ),
  change(
    "a narrower stagger",
    OPENED,
    { schedule: { ...timed.schedule, lotStagger: "60s" } },
    { schedule: { ...timed.schedule, lotStagger: "59s" } },
    "spec.schedule.lotStagger",
    /only grow/,
  ),
  change(
    "a wider stagger",
    OVER,
    { schedule: { ...timed.schedule, lotStagger: "60s" } },
    { schedule: { ...timed.schedule, lotStagger: "2m" } },
    "spec.schedule",
    /schedule is fixed/,
  ),
  change("a lot withdrawn", OVER, {}, { withdrawnLots: ["b"] }, "spec.withdrawnLots", /has closed/),
  change(
    "one more lot withdrawn",
    OVER,
    { withdrawnLots: ["b"] },
    { withdrawnLots: ["a", "b"] },
    "spec.withdrawnLots",
    /has closed/,
  ),
  change(
    "a withdrawal taken back",
    PHASES,
    { withdrawnLots: ["a", "b"] },
    { withdrawnLots: ["b"] },
    "spec.withdrawnLots",
    /may only grow/,
  ),
  change(
    "all withdrawals taken back",
    PHASES,
    { withdrawnLots: ["a"] },
    {},
    "spec.withdrawnLots",
    /may only grow/,
  ),
  change("a suspension", OVER, {}, { suspended: true }, "spec.suspended", /has closed/),
  change(
    "an end of it",
    OVER,
    { suspended: true },
    { suspended: false },
    "spec.suspended",
    /has closed/,
  ),
  change("a title", OVER, {}, { title: "Spring" }, "spec.title", /title is fixed/),
  change(
    "another title",
    OVER,
    { title: "Spring" },
    { title: "Autumn" },
    "spec.title",
    /title is fixed/,
  ),
  ...(["redis", "nats", "postgres"] as const).flatMap((store) => [
    change(
      `the mode of ${store}`,
      PROVISIONED,
      {},
      { backing: { [store]: EXTERNAL } },
      "spec.backing",
      /modes are fixed/,
    ),
    change(
      `the size of ${store}'s volume`,
      PROVISIONED,
      {},
      { backing: { [store]: { managed: { storage: { size: "2Gi" } } } } },
      `spec.backing.${store}.managed.storage`,
      /storage is fixed/,
    ),
    change(
      `the class of ${store}'s volume`,
      PROVISIONED,
      { backing: { [store]: { managed: { storage: { storageClassName: "fast" } } } } },
      { backing: { [store]: { managed: {} } } },
      `spec.backing.${store}.managed.storage`,
      /storage is fixed/,
    ),
  ]),
];
