/** The part of the schema that says who runs the stores of an Auction. */
import Type from "typebox";
import { Image, Name, Resources, Section, strict } from "./field-schemas.ts";

const SecretRef = Type.Object(
  {
    name: Name("Name of the Secret, in the namespace of the Auction."),
    key: Type.String({
      minLength: 1,
      maxLength: 253,
      default: "uri",
      description: "Key of the Secret that holds the URL.",
    }),
  },
  { ...strict, description: "Secret that holds the URL. It can be rotated: pods read it again." },
);

const External = Type.Object(
  { secretRef: SecretRef },
  { ...strict, description: "Connection to the store, for mode External." },
);

const Managed = Type.Object(
  {
    image: Type.Optional(Image),
    resources: Type.Optional(Resources),
    storage: Section(
      {
        size: Type.String({
          pattern: "^[1-9][0-9]{0,5}(Mi|Gi|Ti)$",
          maxLength: 20,
          default: "1Gi",
          description: "Size of the volume.",
        }),
        storageClassName: Type.Optional(Name("StorageClass. Default: the one of the cluster.")),
      },
      "Volume of the store.",
    ),
  },
  { ...strict, description: "Settings for mode Managed: one replica, for development and tests." },
);

const Mode = Type.Enum(["Managed", "External"], {
  type: "string",
  default: "Managed",
  description: "Who runs the store: the operator (Managed) or somebody else (External).",
});

export const Backing = Section(
  { mode: Mode, external: Type.Optional(External), managed: Type.Optional(Managed) },
  "Managed: the operator runs one replica. External: a Secret holds the URL.",
);

export const RedisBacking = Section(
  {
    mode: Mode,
    external: Type.Optional(External),
    managed: Type.Optional(Managed),
    durability: Type.Enum(["Disk", "Replica"], {
      type: "string",
      default: "Disk",
      description:
        "When a bid is acknowledged: when it is on the disk of Redis, or when a replica has it too.",
    }),
  },
  "The store that decides bids.",
);

export const NatsBacking = Section(
  {
    mode: Mode,
    external: Type.Optional(External),
    managed: Type.Optional(Managed),
    streamReplicas: Type.Enum([1, 3], {
      type: "integer",
      default: 1,
      description:
        "On how many servers of an External NATS cluster each event is stored. With 1, the stream is created again from Redis if its server is gone for good.",
    }),
  },
  "The stream between the store and the archive.",
);

export const Backings = Section(
  { redis: RedisBacking, nats: NatsBacking, postgres: Backing },
  "The stores of the auction. Their modes cannot change once the auction is provisioned.",
);

export type Backing = Type.Static<typeof Backing>;
export type NatsBacking = Type.Static<typeof NatsBacking>;
export type RedisBacking = Type.Static<typeof RedisBacking>;
