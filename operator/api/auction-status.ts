/**
 * What the operator writes of an Auction: the schema of `status`, in the CRD and as a type. It holds
 * only what is written, never anything of a single bid or bidder, and costs one write in 15 s at most.
 */
import Type from "typebox";
import { strict } from "./auction-tiers.ts";

/** In the order in which an auction goes through them; `Terminating` may come after any. */
export const PHASES = [
  "Pending",
  "Scheduled",
  "Open",
  "Closing",
  "Closed",
  "Settled",
  "Terminating",
] as const;

/** What the finalizer does, in this order. Each step may be repeated. */
export const DRAIN_STEPS = [
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

const Part = <P extends Type.TProperties>(properties: P, description: string) =>
  Type.Optional(Type.Object(properties, { ...strict, description }));

export const Condition = Type.Object(
  {
    type: Type.String({ minLength: 1, maxLength: 316, description: "What is said, e.g. Ready." }),
    status: Type.Enum(["True", "False", "Unknown"], {
      type: "string",
      description: "Whether it is so.",
    }),
    observedGeneration: Total("The generation of the spec that it was said of."),
    lastTransitionTime: Type.String({
      format: "date-time",
      maxLength: 40,
      description: "When `status` last changed.",
    }),
    reason: Type.String({
      minLength: 1,
      maxLength: 1024,
      pattern: "^[A-Za-z]([A-Za-z0-9_,:]*[A-Za-z0-9_])?$",
      description: "Why, in one CamelCase word for programs.",
    }),
    message: Type.String({ maxLength: 32768, description: "Why, and what to do, for people." }),
  },
  strict,
);

const TierStatus = Type.Object(
  {
    desired: Count("Pods that there should be now."),
    ready: Count("Pods that are ready."),
    updated: Count("Pods of the newest template."),
    image: Text(512, "Image of the template in use."),
    revision: Text(64, "Hash of the template in use."),
    pendingRevision: Text(64, "Hash of the template that updatePolicy WhenIdle holds back."),
  },
  { ...strict, description: "One tier." },
);

const BackingStatus = Type.Object(
  {
    mode: Text(16, "Managed or External."),
    reachable: Type.Optional(Type.Boolean({ description: "Whether it answered archival." })),
    secretHash: Text(64, "Hash of the connection Secret in use; it changes by a rotation."),
  },
  { ...strict, description: "One store." },
);

export const Status = Type.Object(
  {
    observedGeneration: Total("The generation of the spec that all of this was said of."),
    phase: Type.Optional(
      Type.Enum([...PHASES], { type: "string", description: "How far the auction is." }),
    ),
    phaseSince: Instant("When the phase began."),
    operatorVersion: Text(64, "Version of the operator that wrote this."),
    conditions: Type.Optional(
      Type.Array(Condition, {
        maxItems: 32,
        description: "What is so and what is not, each with why.",
        "x-kubernetes-list-type": "map",
        "x-kubernetes-list-map-keys": ["type"],
      }),
    ),
    schedule: Part(
      {
        opensAt: Instant("When the lots opened or will open, by the store's clock."),
        effectiveClosesAt: Instant("When the last lot closes, extensions included."),
        extensions: Count("How often late bids extended a lot."),
      },
      "The clock as it is.",
    ),
    endpoints: Part(
      {
        bids: Text(512, "URL to which bids are posted."),
        stream: Text(512, "URL of the WebSocket."),
        page: Text(512, "URL of the page for a browser."),
      },
      "Where bidders and viewers go.",
    ),
    rules: Part(
      {
        desiredHash: Text(128, "Hash of the rules as the spec has them."),
        publishedHash: Text(128, "Hash of the rules by which bids are decided."),
      },
      "Whether the rules of the spec are in force.",
    ),
    tiers: Part(
      {
        gateway: Type.Optional(TierStatus),
        broadcast: Type.Optional(TierStatus),
        archival: Type.Optional(TierStatus),
      },
      "The pods of each tier.",
    ),
    backing: Part(
      {
        redis: Type.Optional(BackingStatus),
        nats: Type.Optional(BackingStatus),
        postgres: Type.Optional(BackingStatus),
      },
      "The stores under the tiers.",
    ),
    lots: Part(
      {
        summary: Text(32, "Sold lots of all, e.g. 3/5."),
        total: Count("Lots of the auction."),
        open: Count("Lots that take bids now."),
        sold: Count("Lots closed with a leading bid that meets the reserve."),
        unsold: Count("Lots closed without one."),
        withdrawn: Count("Lots withdrawn."),
      },
      "The lots, counted.",
    ),
    activity: Part(
      {
        bidsAccepted: Total("Accepted bids, refreshed every 15 s at most."),
        observedAt: Instant("When they were counted."),
      },
      "Coarse counters.",
    ),
    archive: Part(
      {
        fencedId: Text(64, "Outbox id after which no bid was accepted."),
        relayedId: Text(64, "Outbox id up to which events are in the stream."),
        archivedId: Text(64, "Outbox id up to which events are in Postgres."),
        verifiedAt: Instant("When the archive was proven complete."),
        lagMs: Total("Age in ms of the oldest event that is not archived."),
      },
      "How far the permanent record is.",
    ),
    drain: Part(
      {
        step: Type.Optional(
          Type.Enum([...DRAIN_STEPS], { type: "string", description: "What is being done." }),
        ),
        startedAt: Instant("When the Auction was deleted, as far as the drain is concerned."),
        deadline: Instant("When deletion.onTimeout takes effect."),
        message: Text(1024, "What the step waits for."),
      },
      "The finalizer's progress.",
    ),
  },
  { ...strict, description: "Written by the operator." },
);

export type Phase = (typeof PHASES)[number];
export type DrainStep = (typeof DRAIN_STEPS)[number];
export type Condition = Type.Static<typeof Condition>;
export type TierStatus = Type.Static<typeof TierStatus>;
export type BackingStatus = Type.Static<typeof BackingStatus>;
export type AuctionStatus = Type.Static<typeof Status>;
