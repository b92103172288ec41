/** The inputs of `desired()` besides the Auction. The caller reads them before. */
import type { AuctionDefinition } from "../../services/store/define-lots.ts";
import type { StoreName } from "../api/components.ts";

export interface Address {
  readonly host: string;
  readonly port: number;
}

interface Images {
  readonly gavel: string;
  readonly redis: string;
  readonly nats: string;
  readonly postgres: string;
}

/** Numeric user ids of the store images. */
interface StoreUsers {
  readonly redis: number;
  readonly nats: number;
  readonly postgres: number;
}

/** Random values, created once per Auction and stored in Secrets. */
export interface Credentials {
  /** Signs HS256 tokens. Used only if `spec.access.jwksUrl` is absent. */
  readonly tokenSecret: string;
  /** Bearer token of the operator for the internal API of archival. */
  readonly operatorToken: string;
  readonly redisPassword: string;
  readonly natsPassword: string;
  readonly postgresPassword: string;
}

/**
 * How many pods the tiers have now.
 * - `waiting`: before the prewarm. Gateway and broadcast have 0 pods.
 * - `full`: as in the spec.
 * - `over`: after scaleDownAfter. One gateway, no broadcast.
 * - `no-viewers`: the drain has closed the stream. No broadcast.
 * - `no-intake`: the drain cannot fence the store. No gateway, no broadcast.
 */
export type Scale = "waiting" | "full" | "over" | "no-viewers" | "no-intake";

export interface DesiredInputs {
  readonly images: Images;
  readonly storeUsers: StoreUsers;
  readonly imagePullPolicy: "IfNotPresent" | "Always" | "Never";
  readonly credentials: Credentials;
  /** Content of the Secret `-rules`, with reserves. Null while a Secret with a reserve is missing. */
  readonly definition: AuctionDefinition | null;
  readonly scale: Scale;
  /** Namespace and labels of the operator's pods, which may connect to the internal ports. */
  readonly operator: {
    readonly namespace: string;
    readonly podLabels: Readonly<Record<string, string>>;
  };
  /** The optional kinds that the cluster serves. */
  readonly serves: { readonly podMonitor: boolean; readonly httpRoute: boolean };
  /** URL of the OpenTelemetry collector. */
  readonly otlpEndpoint: string | null;
  /**
   * Addresses of External stores, from the URLs in their Secrets (`storeAddressOf`). A store without an
   * address is assumed to listen on its default port.
   */
  readonly external?: Readonly<Partial<Record<StoreName, Address>>>;
}
