/**
 * The Auction custom resource: one schema that is the TypeScript type, the validation on one machine
 * and (with the rules of auction-rules.ts) the CRD of a cluster. It holds only what works: a field is
 * added here with the code that obeys it.
 */
import Type from "typebox";
import { MAX_MINOR } from "../../services/lot/money.ts";
import type { ObjectMeta } from "../kube/object.ts";
import type { AuctionStatus } from "./auction-status.ts";
import {
  Access,
  Backings,
  Deletion,
  Duration,
  Exposure,
  Section,
  strict,
  Tiers,
} from "./auction-tiers.ts";

export const API_VERSION = "gavel.dev/v1alpha1";
export const KIND = "Auction";

const Minor = (description: string, minimum: 0 | 1 = 0) =>
  Type.Integer({ format: "int64", minimum, maximum: MAX_MINOR, description });

const Instant = (description: string) =>
  Type.String({ format: "date-time", maxLength: 40, description });

const LotId = (description: string) =>
  Type.String({ maxLength: 32, pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", description });

export const Schedule = Type.Object(
  {
    opensAt: Type.Optional(
      Instant("When the lots open, as RFC 3339. Without it: as soon as the tiers are ready."),
    ),
    closesAt: Type.Optional(
      Instant("When the first lot closes, as RFC 3339. Late bids may extend each lot past it."),
    ),
    lasts: Type.Optional(
      Duration({ description: "In place of closesAt: how long after the opening, e.g. 30m." }),
    ),
    lotStagger: Duration({
      description: "Gap between the closes of consecutive lots.",
      default: "0s",
    }),
  },
  { ...strict, description: "The auction's clock." },
);

const Increment = Type.Object(
  {
    fromMinor: Minor("The leading amount from which this step holds."),
    stepMinor: Minor("The least by which the next bid must be higher.", 1),
  },
  strict,
);

export const AntiSniping = Section(
  {
    window: Duration({
      description: "A bid this close to the end extends the lot. 0s turns it off.",
      default: "2m",
    }),
    extension: Duration({
      description: "How much time such a bid leaves, at least.",
      default: "2m",
    }),
    maxExtensions: Type.Integer({
      minimum: 0,
      maximum: 1000,
      default: 50,
      description: "How often a lot may be extended.",
    }),
  },
  "What a late bid does.",
);

const MAX_AMOUNT_MINOR = 1_000_000_000_000;

export const AuctionRules = Section(
  {
    increments: Type.Array(Increment, {
      minItems: 1,
      maxItems: 32,
      default: [{ fromMinor: 0, stepMinor: 100 }],
      description: "Bands of bid steps, sorted by fromMinor; the first begins at 0.",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["fromMinor"],
    }),
    antiSniping: AntiSniping,
    maxAmountMinor: Type.Integer({
      format: "int64",
      minimum: 1,
      maximum: MAX_MINOR,
      default: MAX_AMOUNT_MINOR,
      description: "A bid above this is refused as a slip of the finger.",
    }),
    reserveDisclosure: Type.Enum(["Hidden", "MetOnly", "Public"], {
      type: "string",
      default: "MetOnly",
      description: "What viewers learn of a reserve: nothing, whether it is met, or its amount.",
    }),
  },
  "What bids must be.",
);

const SecretKey = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 253, description: "Name of the Secret." }),
    key: Type.String({ minLength: 1, maxLength: 253, description: "Its key with the amount." }),
  },
  { ...strict, description: "In place of reserveMinor: a Secret with the amount, confidential." },
);

export const AuctionLot = Type.Object(
  {
    id: LotId("The lot's name in addresses and events."),
    title: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 140,
        description: "What bidders read; without it the id.",
      }),
    ),
    startMinor: Minor("The least a first bid may be, in minor units."),
    reserveMinor: Type.Optional(
      Minor("Below it the lot is not sold. Readable to all who may read the Auction."),
    ),
    reserveFrom: Type.Optional(SecretKey),
  },
  strict,
);

export const Spec = Type.Object(
  {
    title: Type.Optional(
      Type.String({
        minLength: 1,
        maxLength: 140,
        description: "What bidders read; without it the Auction's name.",
      }),
    ),
    currency: Type.String({
      pattern: "^[A-Z]{3}$",
      maxLength: 3,
      description: "ISO 4217, e.g. EUR.",
    }),
    minorUnitDigits: Type.Integer({
      minimum: 0,
      maximum: 4,
      default: 2,
      description: "How many digits the minor unit has: 2 for cents.",
    }),
    schedule: Schedule,
    rules: AuctionRules,
    lots: Type.Array(AuctionLot, {
      minItems: 1,
      maxItems: 200,
      description: "What is sold, in the order in which it closes.",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["id"],
    }),
    withdrawnLots: Type.Optional(
      Type.Array(LotId("A lot that is no longer sold."), {
        maxItems: 200,
        description: "Ids of lots that are no longer sold. It may only grow.",
        "x-kubernetes-list-type": "set",
      }),
    ),
    profile: Type.Enum(["Development", "Production"], {
      type: "string",
      default: "Development",
      description: "Production forbids Managed stores, single replicas and development tokens.",
    }),
    suspended: Type.Boolean({
      default: false,
      description:
        "Bids are refused and the lots' clocks stand still; they go on when it is false again. May change until the auction has closed.",
    }),
    access: Access,
    exposure: Type.Optional(Exposure),
    tiers: Tiers,
    backing: Backings,
    deletion: Deletion,
  },
  strict,
);

const Metadata = Type.Object({
  name: Type.String({
    minLength: 1,
    maxLength: 40, // It prefixes the names of objects that may have 63 characters.
    pattern: "^[a-z]([a-z0-9-]*[a-z0-9])?$", // Services among them: those begin with a letter.
  }),
  // The rest (namespace, labels, annotations …) is Kubernetes's business.
});

export const AuctionResource = Type.Object(
  {
    apiVersion: Type.Enum([API_VERSION]),
    kind: Type.Enum([KIND]),
    metadata: Metadata,
    spec: Spec,
  },
  strict,
);

export type Schedule = Type.Static<typeof Schedule>;
export type AntiSniping = Type.Static<typeof AntiSniping>;
export type AuctionRules = Type.Static<typeof AuctionRules>;
export type AuctionLot = Type.Static<typeof AuctionLot>;
export type Spec = Type.Static<typeof Spec>;
/** With its defaults filled in. */
export type AuctionResource = Type.Static<typeof AuctionResource>;

/** An Auction as the API server keeps it. */
export interface StoredAuction extends Omit<AuctionResource, "metadata"> {
  readonly metadata: ObjectMeta & {
    readonly namespace: string;
    readonly uid: string;
    readonly generation: number;
  };
  readonly status?: AuctionStatus;
}
