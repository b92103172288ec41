/**
 * Which fields of an Auction may change, and until which phase. Each rule is written twice, as CEL at the root
 * of the CRD, where `oldSelf.status.phase` is available, and in TypeScript. The same cases test both. The
 * rules give early feedback only: the store itself refuses changes after the opening, even before the phase
 * in the status is updated.
 */
import { isDeepStrictEqual } from "node:util";
import type { AuctionResource, Spec } from "./auction-resource.ts";
import type { Phase } from "./auction-status.ts";
import { STORES } from "./components.ts";
import { digitsCel, minorUnitDigitsOf } from "./currency.ts";
import { durationMs } from "./duration.ts";
import { optionalInstantMs } from "./instant.ts";
import type { Problem } from "./validate-auction.ts";

/** The phase from which a rule applies. */
type Since = "the creation" | "Scheduled" | "Open" | "Closed";

interface ChangeRule {
  readonly since: Since;
  /** The field that the message is about. */
  readonly path: string;
  /** CEL over `self` and `oldSelf`, without the condition on the phase. */
  readonly change: string;
  readonly message: string;
  allows(now: Spec, before: Spec): boolean;
}

/** Phases in which the field may still change. */
const FREE_PHASES: Readonly<Record<Since, readonly Phase[]>> = {
  "the creation": [],
  Scheduled: ["Pending"],
  Open: ["Pending", "Scheduled"],
  Closed: ["Pending", "Scheduled", "Open", "Closing"],
};

const equal = (fields: readonly string[]) =>
  fields.map((field) => `self.spec.${field} == oldSelf.spec.${field}`).join(" && ");

/** For an optional field. CEL optionals would be shorter, but their comparison has no bounded cost. */
const equalIfPresent = (field: string) =>
  `has(self.spec.${field}) == has(oldSelf.spec.${field})` +
  ` && (!has(self.spec.${field}) || ${equal([field])})`;

/** True if the value did not decrease. An absent value must stay absent, a present one present. */
function hasNotDecreased(now: number | null, before: number | null): boolean {
  return before === null ? now === null : now !== null && now >= before;
}

const lengthMs = (text: string | undefined) => (text === undefined ? null : durationMs(text));

export const CHANGE_RULES: readonly ChangeRule[] = [
  {
    since: "the creation",
    path: "spec.withdrawnLots",
    change:
      "!has(oldSelf.spec.withdrawnLots) || (has(self.spec.withdrawnLots) && oldSelf.spec.withdrawnLots.all(w, w in self.spec.withdrawnLots))",
    message: "a lot that was withdrawn stays so: withdrawnLots may only grow",
    allows: (now, before) =>
      (before.withdrawnLots ?? []).every((id) => now.withdrawnLots?.includes(id)),
  },
  {
    since: "Scheduled",
    path: "spec.backing",
    change: equal(STORES.map((store) => `backing.${store}.mode`)),
    message: "the stores' modes are fixed once the auction is provisioned; create a new Auction",
    allows: (now, before) =>
      STORES.every((store) => now.backing[store].mode === before.backing[store].mode),
  },
  ...STORES.map((store): ChangeRule => {
    const size = (self: string) => `(has(${self}.managed) ? ${self}.managed.storage.size : '1Gi')`;
    const className = (self: string) =>
      `(has(${self}.managed) && has(${self}.managed.storage.storageClassName) ? ${self}.managed.storage.storageClassName : '')`;
    const [now, before] = [`self.spec.backing.${store}`, `oldSelf.spec.backing.${store}`] as const;
    return {
      since: "Scheduled",
      path: `spec.backing.${store}.managed.storage`,
      change: `${size(now)} == ${size(before)} && ${className(now)} == ${className(before)}`,
      message: "a Managed store keeps its volume: storage is fixed once the auction is provisioned",
      allows: (now, before) => {
        const [is, was] = [now, before].map(({ backing }) => backing[store].managed?.storage);
        return (
          (is?.size ?? "1Gi") === (was?.size ?? "1Gi") &&
          is?.storageClassName === was?.storageClassName
        );
      },
    };
  }),
  {
    since: "Open",
    path: "spec.rules",
    change: equal(["rules"]),
    message: "the rules are frozen once the auction is Open",
    allows: (now, before) => isDeepStrictEqual(comparableRules(now), comparableRules(before)),
  },
  {
    since: "Open",
    path: "spec.currency",
    // If one of the two sets no digits, it has those of the currency, and the other must set the same.
    change:
      `${equal(["currency"])} && (${equalIfPresent("minorUnitDigits")} || ` +
      "has(self.spec.minorUnitDigits) != has(oldSelf.spec.minorUnitDigits) && " +
      "(has(self.spec.minorUnitDigits) ? self.spec.minorUnitDigits : oldSelf.spec.minorUnitDigits)" +
      ` == (${digitsCel("self.spec.currency", "-1")}))`,
    message: "currency and minorUnitDigits are frozen once the auction is Open",
    allows: (now, before) =>
      now.currency === before.currency && minorUnitDigitsOf(now) === minorUnitDigitsOf(before),
  },
  {
    since: "Open",
    path: "spec.lots",
    // CEL compares lists with keys in any order. Lots close in order, so the order is compared separately.
    change: `${equal(["lots"])} && self.spec.lots.map(l, l.id) == oldSelf.spec.lots.map(l, l.id)`,
    message: "the lots are frozen once the auction is Open; withdraw one through withdrawnLots",
    allows: (now, before) => isDeepStrictEqual(now.lots, before.lots),
  },
  {
    since: "Open",
    path: "spec.schedule.opensAt",
    change: equalIfPresent("schedule.opensAt"),
    message: "opensAt is fixed once the auction is Open",
    allows: (now, before) =>
      optionalInstantMs(now.schedule.opensAt) === optionalInstantMs(before.schedule.opensAt),
  },
  {
    since: "Open",
    path: "spec.schedule.closesAt",
    change:
      "has(self.spec.schedule.closesAt) == has(oldSelf.spec.schedule.closesAt) && (!has(self.spec.schedule.closesAt) || self.spec.schedule.closesAt >= oldSelf.spec.schedule.closesAt)",
    message: "closesAt may only move later once the auction is Open",
    allows: (now, before) =>
      hasNotDecreased(
        optionalInstantMs(now.schedule.closesAt),
        optionalInstantMs(before.schedule.closesAt),
      ),
  },
  {
    since: "Open",
    path: "spec.schedule.lasts",
    change:
      "has(self.spec.schedule.lasts) == has(oldSelf.spec.schedule.lasts) && (!has(self.spec.schedule.lasts) || self.spec.schedule.lasts >= oldSelf.spec.schedule.lasts)",
    message: "lasts may only grow once the auction is Open",
    allows: (now, before) =>
      hasNotDecreased(lengthMs(now.schedule.lasts), lengthMs(before.schedule.lasts)),
  },
  {
    since: "Open",
    path: "spec.schedule.lotStagger",
    change: "self.spec.schedule.lotStagger >= oldSelf.spec.schedule.lotStagger",
    message: "lotStagger may only grow once the auction is Open",
    allows: (now, before) =>
      durationMs(now.schedule.lotStagger) >= durationMs(before.schedule.lotStagger),
  },
  {
    since: "Closed",
    path: "spec.title",
    change: equalIfPresent("title"),
    message: "the title is fixed once the auction has closed",
    allows: (now, before) => now.title === before.title,
  },
  {
    since: "Closed",
    path: "spec.schedule",
    change: equal(["schedule"]),
    message: "the schedule is fixed once the auction has closed",
    allows: (now, before) => isDeepStrictEqual(comparableSchedule(now), comparableSchedule(before)),
  },
  {
    since: "Closed",
    path: "spec.withdrawnLots",
    change: equalIfPresent("withdrawnLots"),
    message: "no lot can be withdrawn once the auction has closed",
    allows: (now, before) =>
      isDeepStrictEqual(new Set(now.withdrawnLots), new Set(before.withdrawnLots)),
  },
  {
    since: "Closed",
    path: "spec.suspended",
    change: equal(["suspended"]),
    message: "nothing can be suspended or resumed once the auction has closed",
    allows: (now, before) => now.suspended === before.suspended,
  },
];

/** The CEL of a rule, with the condition on the phase. */
export function changeCel({ since, change }: ChangeRule): string {
  const freePhases = FREE_PHASES[since];
  if (freePhases.length === 0) return change;
  const phases = freePhases.map((phase) => `'${phase}'`).join(", ");
  return `oldSelf.?status.?phase.orValue('Pending') in [${phases}] || (${change})`;
}

/** The changes that the rules refuse in this phase, as TypeScript evaluates them. */
export function refusedChanges(
  now: AuctionResource,
  before: AuctionResource,
  phase: Phase,
): Problem[] {
  return CHANGE_RULES.filter(
    ({ since, allows }) => !FREE_PHASES[since].includes(phase) && !allows(now.spec, before.spec),
  ).map(({ path, message }) => ({ path, message }));
}

/** The rules with durations in ms, so that 2m equals 120s. */
function comparableRules({ rules }: Spec): object {
  const { antiSniping } = rules;
  const window = durationMs(antiSniping.window);
  const extension = durationMs(antiSniping.extension);
  return { ...rules, antiSniping: { ...antiSniping, window, extension } };
}

/** The schedule with instants and durations as numbers. */
function comparableSchedule({ schedule }: Spec): object {
  return {
    opensAt: optionalInstantMs(schedule.opensAt),
    closesAt: optionalInstantMs(schedule.closesAt),
    lasts: lengthMs(schedule.lasts),
    lotStagger: durationMs(schedule.lotStagger),
  };
}
