/**
 * The Auction custom resource. One schema gives the TypeScript type, the validation of `make up` and, with
 * the rules of auction-rules.ts, the CRD. A field is added together with the code that implements it.
 */
import Type from "typebox";
import { MAX_MINOR } from "../../services/lot/money.ts";
import { DEFAULT_MAX_JUMP, LARGEST_MAX_JUMP } from "../../services/lot/terms.ts";
import type { ObjectMeta } from "../kube/object.ts";
import type { AuctionStatus } from "./auction-status.ts";
import { Access, Exposure } from "./auction-access.ts";
import { Backings } from "./auction-backing.ts";
import { Deletion, Tiers } from "./auction-tiers.ts";
import { Duration, Section, strict, Text } from "./field-schemas.ts";
import { INSTANT_PATTERN } from "./instant.ts";

export const API_VERSION = "gavel.dev/v1alpha1";
export const KIND = "Auction";

const Minor = (description: string, minimum: 0 | 1 = 0) =>
  Type.Integer({ format: "int64", minimum, maximum: MAX_MINOR, description });

const Instant = (description: string) =>
  Type.String({ format: "date-time", pattern: INSTANT_PATTERN, maxLength: 40, description });

const LotId = (description: string) =>
  Type.String({ maxLength: 32, pattern: "^[a-z0-9]([a-z0-9-]*[a-z0-9])?$", description });

export const Schedule = Type.Object(
  {
    opensAt: Type.Optional(
      Instant("When the lots open (RFC 3339). If absent: as soon as the tiers are ready."),
    ),
    closesAt: Type.Optional(
      Instant("When the first lot closes (RFC 3339). Late bids may extend each lot."),
    ),
    lasts: Type.Optional(
      Duration({
        description:
          "Time from the opening to the close of the first lot, e.g. 30m. Instead of closesAt.",
      }),
    ),
    lotStagger: Duration({
      description: "Time between the closes of two consecutive lots.",
      default: "0s",
    }),
  },
  { ...strict, description: "When the lots open and close." },
);

const Increment = Type.Object(
  {
    fromMinor: Minor("Leading amount from which this step applies."),
    stepMinor: Minor("Minimum by which the next bid must exceed the leading amount.", 1),
  },
  strict,
);

export const AntiSniping = Section(
  {
    window: Duration({
      description:
        "A bid this close to the close of a lot extends the lot. 0s turns extensions off.",
      default: "2m",
    }),
    extension: Duration({
      description: "Minimum time that remains after such a bid.",
      default: "2m",
    }),
    maxExtensions: Type.Integer({
      minimum: 0,
      maximum: 1000,
      default: 50,
      description: "Maximum number of extensions of a lot.",
    }),
  },
  "Extension of a lot by a late bid.",
);

const MAX_AMOUNT_MINOR = 1_000_000_000_000;

export const AuctionRules = Section(
  {
    increments: Type.Array(Increment, {
      minItems: 1,
      maxItems: 32,
      default: [{ fromMinor: 0, stepMinor: 100 }],
      description: "Bid steps, sorted by fromMinor. The first must start at 0.",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["fromMinor"],
    }),
    antiSniping: AntiSniping,
    maxAmountMinor: Type.Integer({
      format: "int64",
      minimum: 1,
      maximum: MAX_MINOR,
      default: MAX_AMOUNT_MINOR,
      description:
        "A bid above this amount is rejected as a typing error. Once the minimum is above it, only the minimum is accepted.",
    }),
    maxJump: Type.Integer({
      minimum: 2,
      maximum: LARGEST_MAX_JUMP,
      default: DEFAULT_MAX_JUMP,
      description:
        "A bid may be at most this many times the minimum or the first step, whichever is larger. An auction that opened before this field existed has no such limit.",
    }),
    reserveDisclosure: Type.Enum(["Hidden", "MetOnly", "Public"], {
      type: "string",
      default: "MetOnly",
      description: "What viewers see of a reserve: nothing, whether it is met, or its amount.",
    }),
  },
  "Rules for bids.",
);

const SecretKey = Type.Object(
  {
    name: Type.String({ minLength: 1, maxLength: 253, description: "Name of the Secret." }),
    key: Type.String({
      minLength: 1,
      maxLength: 253,
      description: "Key of the Secret that holds the amount.",
    }),
  },
  { ...strict, description: "Secret that holds a confidential reserve. Instead of reserveMinor." },
);

export const AuctionLot = Type.Object(
  {
    id: LotId("Id of the lot in URLs and events."),
    title: Type.Optional(
      Text({ maxLength: 140, description: "Title shown to bidders. Default: the id." }),
    ),
    startMinor: Minor("Minimum amount of the first bid, in minor units."),
    reserveMinor: Type.Optional(
      Minor(
        "Minimum amount at which the lot is sold. Everyone who can read the Auction can read it.",
      ),
    ),
    reserveFrom: Type.Optional(SecretKey),
  },
  strict,
);

export const Spec = Type.Object(
  {
    title: Type.Optional(
      Text({
        maxLength: 140,
        description: "Title shown to bidders. Default: the name of the Auction.",
      }),
    ),
    currency: Type.String({
      pattern: "^[A-Z]{3}$",
      maxLength: 3,
      description: "Currency code (ISO 4217), e.g. EUR.",
    }),
    minorUnitDigits: Type.Optional(
      Type.Integer({
        minimum: 0,
        maximum: 4,
        description:
          "Decimal digits of the minor unit: 2 for cents. Default: those of the currency. Required for a currency whose digits ISO 4217 does not define.",
      }),
    ),
    schedule: Schedule,
    rules: AuctionRules,
    lots: Type.Array(AuctionLot, {
      minItems: 1,
      maxItems: 200,
      description: "The lots, in the order in which they close.",
      "x-kubernetes-list-type": "map",
      "x-kubernetes-list-map-keys": ["id"],
    }),
    withdrawnLots: Type.Optional(
      Type.Array(LotId("Id of a withdrawn lot."), {
        maxItems: 200,
        description: "Ids of lots that are withdrawn. Ids can be added, not removed.",
        "x-kubernetes-list-type": "set",
      }),
    ),
    profile: Type.Enum(["Development", "Production"], {
      type: "string",
      default: "Development",
      description:
        "Production does not allow Managed stores, single replicas or development tokens.",
    }),
    suspended: Type.Boolean({
      default: false,
      description:
        "While true, bids are rejected and the clocks of the lots are paused. Can change until the auction has closed.",
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
    maxLength: 40, // It is a prefix of object names, which may have 63 characters.
    pattern: "^[a-z]([a-z0-9-]*[a-z0-9])?$", // The name of a Service must begin with a letter.
  }),
  // Kubernetes validates the other fields (namespace, labels, annotations …).
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
