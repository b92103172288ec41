/** Reads the Secrets of an Auction by name, and generates the credentials that do not exist yet. */
import { createHash, randomBytes } from "node:crypto";
import { MAX_MINOR } from "../../services/lot/money.ts";
import type { Cluster } from "../kube/client.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import type { Credentials } from "../desired/inputs.ts";
import { STORES } from "../api/components.ts";
import { storeAddressOf } from "../desired/policies.ts";
import { type AnyObject, KINDS } from "../kube/object.ts";
import type { AuctionSecrets, Obstacle } from "./observation.ts";

/** How long a read is cached, if all Secrets were valid and if not. */
const VALID_CACHE_MS = 60_000;
const INVALID_CACHE_MS = 5_000;

interface CachedSecrets {
  readonly secrets: AuctionSecrets;
  readonly generation: number;
  readonly untilMs: number;
}

type Data = Readonly<Record<string, string>>;

export class SecretReader {
  readonly #cluster: Cluster;
  readonly #cache = new Map<string, CachedSecrets>();
  /** Credentials that were read or generated: a deleted Secret is created again as it was. */
  readonly #credentials = new Map<string, Credentials>();

  constructor(cluster: Cluster) {
    this.#cluster = cluster;
  }

  /** @throws ApiError if the API server does not answer */
  async read(auction: StoredAuction): Promise<AuctionSecrets> {
    const { uid, generation } = auction.metadata;
    const cached = this.#cache.get(uid);
    if (cached && cached.generation === generation && Date.now() < cached.untilMs)
      return cached.secrets;
    const credentials = this.#credentials.get(uid) ?? (await this.#readCredentials(auction));
    this.#credentials.set(uid, credentials);
    const reserves = await this.#readReserves(auction);
    const stores = await this.#readStores(auction);
    const obstacle = reserves.obstacle ?? stores.obstacle;
    const { hashes, external } = stores;
    const secrets = { credentials, reserves: reserves.amounts, hashes, external, obstacle };
    const untilMs = Date.now() + (obstacle === null ? VALID_CACHE_MS : INVALID_CACHE_MS);
    this.#cache.set(uid, { secrets, generation, untilMs });
    return secrets;
  }

  forget(uid: string): void {
    this.#cache.delete(uid);
    this.#credentials.delete(uid);
  }

  async #data(namespace: string, name: string): Promise<Data | null> {
    const secret = await this.#cluster.get<AnyObject>({ ...KINDS.Secret, namespace, name });
    if (secret === null) return null;
    const entries = Object.entries((secret["data"] ?? {}) as Record<string, string>);
    return Object.fromEntries(
      entries.map(([key, value]) => [key, Buffer.from(value, "base64").toString("utf8")]),
    );
  }

  async #readCredentials({ metadata }: StoredAuction): Promise<Credentials> {
    const readOrGenerate = async (component: string, key: string): Promise<string> => {
      const data = await this.#data(metadata.namespace, `${metadata.name}-${component}`);
      return data?.[key] ?? randomBytes(32).toString("hex");
    };
    const [tokenSecret, operatorToken, redisPassword, natsPassword, postgresPassword] =
      await Promise.all([
        readOrGenerate("access", "secret"),
        readOrGenerate("operator", "token"),
        readOrGenerate("redis", "password"),
        readOrGenerate("nats", "password"),
        readOrGenerate("postgres", "password"),
      ]);
    return { tokenSecret, operatorToken, redisPassword, natsPassword, postgresPassword };
  }

  async #readReserves({ metadata, spec }: StoredAuction) {
    const amounts = new Map<string, number>();
    for (const { id, startMinor, reserveFrom } of spec.lots) {
      if (reserveFrom === undefined) continue;
      const { name, key } = reserveFrom;
      const found = await this.#value(metadata.namespace, name, key);
      const path = `spec.lots[${id}].reserveFrom`;
      if ("obstacle" in found) {
        return { amounts, obstacle: missing(`${path}: ${found.obstacle}`) };
      }
      const amount = /^\d{1,16}$/.test(found.value.trim()) ? Number(found.value) : NaN;
      const most = Math.min(MAX_MINOR, spec.rules.maxAmountMinor);
      if (!(amount >= startMinor && amount <= most)) {
        const message = `${path}: key ${key} of Secret ${name} must be an integer from startMinor ${startMinor} to ${most}, in minor units`;
        return { amounts, obstacle: { reason: "InvalidSpec", message } as const };
      }
      amounts.set(id, amount);
    }
    return { amounts, obstacle: null };
  }

  async #readStores({ metadata, spec }: StoredAuction) {
    const hashes: Record<string, string> = {};
    const addresses: Record<string, NonNullable<ReturnType<typeof storeAddressOf>>> = {};
    for (const store of STORES) {
      const { mode, external } = spec.backing[store];
      if (mode !== "External" || external === undefined) continue;
      const { name, key } = external.secretRef;
      const found = await this.#value(metadata.namespace, name, key);
      if ("obstacle" in found) {
        const path = `spec.backing.${store}.external.secretRef`;
        return { hashes, external: addresses, obstacle: missing(`${path}: ${found.obstacle}`) };
      }
      const address = storeAddressOf(store, found.value.trim());
      if (address === null) {
        const message = `spec.backing.${store}.external.secretRef: key ${key} of Secret ${name} is not a ${store} URL`;
        return {
          hashes,
          external: addresses,
          obstacle: { reason: "InvalidSpec", message } as const,
        };
      }
      addresses[store] = address;
      hashes[store] = createHash("sha256").update(found.value).digest("hex").slice(0, 16);
    }
    return { hashes, external: addresses, obstacle: null };
  }

  async #value(
    namespace: string,
    name: string,
    key: string,
  ): Promise<{ value: string } | { obstacle: string }> {
    const data = await this.#data(namespace, name);
    if (data === null) return { obstacle: `there is no Secret ${name}; create it` };
    const value = data[key];
    if (value === undefined || value.trim() === "") {
      const keys = Object.keys(data).join(", ") || "none";
      return { obstacle: `Secret ${name} has no key ${key} (it has: ${keys})` };
    }
    return { value };
  }
}

const missing = (message: string): Obstacle => ({ reason: "SecretNotFound", message });
