/** What `desired()` needs to know besides the Auction. All of it is read before; `desired()` asks nobody. */
import type { AuctionDefinition } from "../../services/store/define-lots.ts";
import type { StoreName } from "../api/components.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

export interface Images {
  readonly gavel: string;
  readonly redis: string;
  readonly nats: string;
  readonly postgres: string;
}

/** Numeric ids that the store images run as: 14 of decisions.md. */
export interface StoreUsers {
  readonly redis: number;
  readonly nats: number;
  readonly postgres: number;
}

/** Made once per Auction at random, and kept in Secrets that are read back by name. */
export interface Credentials {
  /** Signs HS256 tokens; only where `spec.access.jwksUrl` is absent. */
  readonly tokenSecret: string;
  /** Bearer of the operator at archival's internal port. */
  readonly operatorToken: string;
  readonly redisPassword: string;
  readonly natsPassword: string;
  readonly postgresPassword: string;
}

/**
 * How much of the tiers runs now. `waiting`: before the prewarm, gateway and broadcast at 0. `full`: as
 * the spec says. `over`: after scaleDownAfter, one gateway and no broadcast. `no-viewers`: the finalizer
 * closes them: broadcast at 0. `no-intake`: both at 0, the fence of a store that no gateway can reach.
 */
export type Scale = "waiting" | "full" | "over" | "no-viewers" | "no-intake";

export interface DesiredInputs {
  readonly images: Images;
  readonly storeUsers: StoreUsers;
  readonly imagePullPolicy: "IfNotPresent" | "Always" | "Never";
  readonly credentials: Credentials;
  /** What `-rules` holds, reserves filled in. Null while a Secret that it needs is missing: no `-rules` then. */
  readonly definition: AuctionDefinition | null;
  readonly scale: Scale;
  /** Namespace and labels of the operator's own pods: they may reach the internal ports. */
  readonly operator: {
    readonly namespace: string;
    readonly podLabels: Readonly<Record<string, string>>;
  };
  /** Which optional kinds the cluster serves. */
  readonly serves: { readonly podMonitor: boolean; readonly httpRoute: boolean };
  /** Where pods may send telemetry to, as a URL. */
  readonly otlpEndpoint: string | null;
  /**
   * Where External stores are, read from their Secrets by `storeAddressOf`: their passwords stay there.
   * A store that is missing here is taken to be at its usual port.
   */
  readonly external?: Readonly<Partial<Record<StoreName, Address>>>;
}
