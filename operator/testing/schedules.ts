/** Schedules of Auctions as people may write them, most of them wrong. For property tests. */
import fc from "fast-check";
import { INSTANT_PATTERN } from "../api/instant.ts";

const instant = fc.oneof(
  fc.stringMatching(new RegExp(INSTANT_PATTERN)),
  fc.date({ noInvalidDate: true }).map((date) => date.toISOString()),
  fc
    .tuple(
      fc.constantFrom("2026-12-24", "2026-02-30", "2028-02-29", "0000-01-01", "9999-12-31"),
      fc.constantFrom("T18:00:00", "t18:00:00", "T23:59:60", "T24:00:00", "T18:00:00.0009"),
      fc.constantFrom("Z", "z", "+01:00", "-23:59", "+24:00", "+01:00[Europe/Berlin]", ""),
    )
    .map((parts) => parts.join("")),
);
const duration = fc.oneof(
  fc.constantFrom("0s", "1h", "2160h", "99999h", "9999999m".repeat(4), "1ms", "1h30m", "1e3s"),
  fc.stringMatching(/^([0-9]{1,9}(ms|s|m|h)){1,4}$/),
);

const schedule = { opensAt: instant, lotStagger: fc.constantFrom("0s", "90s", "1h", "3600001ms") };

export const SCHEDULES: fc.Arbitrary<{ opensAt?: string }> = fc.oneof(
  fc.record({ ...schedule, closesAt: instant }, { requiredKeys: ["closesAt"] }),
  fc.record({ ...schedule, lasts: duration }, { requiredKeys: ["lasts"] }),
);
