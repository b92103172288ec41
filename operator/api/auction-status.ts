/**
 * The schema of `status`, which the operator writes. It contains nothing about a single bid or bidder.
 * Counters are written every 15 s at most.
 */
import Type from "typebox";
import { strict } from "./field-schemas.ts";

/** In the order of an auction's life. `Terminating` may follow any phase. */
export const PHASES = [
  "Pending",
  "Scheduled",
  "Open",
  "Closing",
  "Closed",
  "Settled",
  "Terminating",
] as const;

/** The steps of the finalizer, in order. Each step is idempotent. */
const DRAIN_STEPS = [
  "StopIntake",
  "FlushOutbox",
  "DrainStream",
  "Verify",
  "CloseBroadcast",
  "Cleanup",
] as const;

const Text = (maxLength: number, description: string) =>
  Type.Optional(Type.String({ maxLength, description }));

const Instant = (description: string) =>
  Type.Optional(Type.String({ format: "date-time", maxLength: 40, description }));

const Count = (description: string) =>
  Type.Optional(Type.Integer({ format: "int32", minimum: 0, description }));

const Total = (description: string) =>
  Type.Optional(Type.Integer({ format: "int64", minimum: 0, description }));

const Section = <P extends Type.TProperties>(properties: P, description: string) =>
  Type.Optional(Type.Object(properties, { ...strict, description }));

export const Condition = Type.Object(
  {
    type: Type.String({
      minLength: 1,
      maxLength: 316,
      description: "Type of the condition, e.g. Ready.",
    }),
    status: Type.Enum(["True", "False", "Unknown"], {
      type: "string",
      description: "Whether the condition holds.",
    }),
    observedGeneration: Total("Generation of the spec that the condition describes."),
    lastTransitionTime: Type.String({
      format: "date-time",
      maxLength: 40,
      description: "When `status` last changed.",
    }),
    reason: Type.String({
      minLength: 1,
      maxLength: 1024,
      pattern: "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
      description: "Reason for programs: one CamelCase word.",
    }),
    message: Type.String({ maxLength: 32768, description: "Reason for people, and what to do." }),
  },
  strict,
);

const TierStatus = Type.Object(
  {
    desired: Count("Number of pods that should run now."),
    ready: Count("Number of pods that are ready."),
    updated: Count("Number of pods with the newest template."),
    image: Text(512, "Image of the current template."),
    revision: Text(64, "Hash of the current template."),
    pendingRevision: Text(64, "Hash of the template that updatePolicy WhenIdle defers."),
  },
  { ...strict, description: "State of the tier." },
);

const BackingStatus = Type.Object(
  {
    mode: Text(16, "Managed or External."),
    reachable: Type.Optional(
      Type.Boolean({ description: "Whether archival can reach the store." }),
    ),
    secretHash: Text(64, "Hash of the current connection Secret. It changes with a rotation."),
  },
  { ...strict, description: "State of the store." },
);

export const Status = Type.Object(
  {
    observedGeneration: Total("Generation of the spec that this status describes."),
    phase: Type.Optional(
      Type.Enum([...PHASES], { type: "string", description: "Phase of the auction." }),
    ),
    phaseSince: Instant("When the phase started."),
    operatorVersion: Text(64, "Version of the operator that wrote this status."),
    conditions: Type.Optional(
      Type.Array(Condition, {
        maxItems: 32,
        description: "Conditions, each with a reason.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
      }),
    ),
    schedule: Section(
      {
        opensAt: Instant("When the lots opened or will open, by the clock of the store."),
        effectiveClosesAt: Instant("When the last lot closes, including extensions."),
        extensions: Count("Number of extensions by late bids."),
      },
      "The effective schedule.",
    ),
    endpoints: Section(
      {
        bids: Text(512, "URL for bids."),
        stream: Text(512, "URL of the stream (WebSocket)."),
        page: Text(512, "URL of the web page."),
      },
      "URLs for bidders and viewers.",
    ),
    rules: Section(
      {
        desiredHash: Text(128, "Hash of the rules in the spec."),
        publishedHash: Text(128, "Hash of the rules in the store, by which bids are decided."),
      },
      "Whether the rules of the spec are in effect.",
    ),
    tiers: Section(
      {
        gateway: Type.Optional(TierStatus),
        broadcast: Type.Optional(TierStatus),
        archival: Type.Optional(TierStatus),
      },
      "The pods of each tier.",
    ),
    backing: Section(
      {
        redis: Type.Optional(BackingStatus),
        nats: Type.Optional(BackingStatus),
        postgres: Type.Optional(BackingStatus),
      },
      "State of each store.",
    ),
    lots: Section(
      {
        summary: Text(32, "Sold lots and all lots, e.g. 3/5."),
        total: Count("Number of lots."),
        open: Count("Number of open lots."),
        sold: Count("Number of lots that closed with a leading bid that meets the reserve."),
        unsold: Count("Number of lots that closed without such a bid."),
        withdrawn: Count("Number of withdrawn lots."),
      },
      "Number of lots by state.",
    ),
    activity: Section(
      {
        bidsAccepted: Total("Number of accepted bids, updated every 15 s at most."),
        observedAt: Instant("When the bids were counted."),
      },
      "Counters of the auction.",
    ),
    archive: Section(
      {
        fencedId: Text(64, "Outbox id after which no bid was accepted."),
        relayedId: Text(64, "Outbox id up to which events are in the stream."),
        archivedId: Text(64, "Outbox id up to which events are in Postgres."),
        verifiedAt: Instant("When the archive was proven complete."),
        lagMs: Total("Age of the oldest event that is not archived, in ms."),
      },
      "Progress of the archive.",
    ),
    drain: Section(
      {
        step: Type.Optional(
          Type.Enum([...DRAIN_STEPS], { type: "string", description: "Current step." }),
        ),
        startedAt: Instant("When the drain started."),
        deadline: Instant("When deletion.onTimeout takes effect."),
        message: Text(1024, "What the current step waits for."),
      },
      "Progress of the finalizer.",
    ),
  },
  { ...strict, description: "Written by the operator." },
);

export type Phase = (typeof PHASES)[number];
export type DrainStep = (typeof DRAIN_STEPS)[number];
export type Condition = Type.Static<typeof Condition>;
type TierStatus = Type.Static<typeof TierStatus>;
type BackingStatus = Type.Static<typeof BackingStatus>;
export type AuctionStatus = Type.Static<typeof Status>;
