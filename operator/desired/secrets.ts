/** The Secrets that the operator writes. Their values are in no environment, argument or annotation. */
import type { StoredAuction } from "../api/auction-resource.ts";
import { type StoreName, STORES } from "../api/components.ts";
import { sentDefinition } from "../api/definition.ts";
import type { DesiredInputs } from "./inputs.ts";
import type { KubeObject } from "./kube-object.ts";
import { childName, keptMetadata } from "./identity.ts";

export const STORE_PORTS: Readonly<Record<StoreName, number>> = {
  redis: 6379,
  nats: 4222,
  postgres: 5432,
};

/** Role and database of a Managed Postgres. */
export const DATABASE = "gavel";

export function isManaged(store: StoreName, { spec }: StoredAuction): boolean {
  return spec.backing[store].mode === "Managed";
}

/** The Secret and key with the URL of a store. */
export function urlSecretOf(store: StoreName, auction: StoredAuction) {
  const { mode, external } = auction.spec.backing[store];
  return mode === "External" && external !== undefined
    ? external.secretRef
    : { name: childName(auction, store), key: "uri" };
}

export function secretsOf(auction: StoredAuction, inputs: DesiredInputs): KubeObject[] {
  const { credentials, definition } = inputs;
  const secret = (
    suffix: string,
    component: Parameters<typeof keptMetadata>[2],
    texts: Readonly<Record<string, string>>,
  ): KubeObject => ({
    apiVersion: "v1",
    kind: "Secret",
    metadata: keptMetadata(auction, suffix, component),
    type: "Opaque",
    data: Object.fromEntries(Object.entries(texts).map(([key, text]) => [key, base64(text)])),
  });
  return [
    ...(definition === null
      ? []
      : [
          secret("rules", "archival", { "rules.json": JSON.stringify(sentDefinition(definition)) }),
        ]),
    ...(auction.spec.access.jwksUrl === undefined
      ? [secret("access", "auction", { secret: credentials.tokenSecret })]
      : []),
    secret("operator", "archival", { token: credentials.operatorToken }),
    ...STORES.filter((store) => isManaged(store, auction)).map((store) =>
      secret(store, store, storeSecret(store, auction, inputs)),
    ),
  ];
}

/** `uri` is for the tiers, the other keys are for the pod of the store. */
function storeSecret(
  store: StoreName,
  auction: StoredAuction,
  { credentials }: DesiredInputs,
): Record<string, string> {
  const host = `${childName(auction, store)}.${auction.metadata.namespace}:${STORE_PORTS[store]}`;
  const { redisPassword, natsPassword, postgresPassword } = credentials;
  switch (store) {
    case "redis":
      return {
        uri: `redis://:${encodeURIComponent(redisPassword)}@${host}`,
        "redis.conf": `requirepass ${quoted(redisPassword)}\n`,
        password: redisPassword,
      };
    case "nats":
      return {
        uri: `nats://gavel:${encodeURIComponent(natsPassword)}@${host}`,
        "nats.conf": `authorization { user: gavel, password: ${quoted(natsPassword)} }\n`,
        password: natsPassword,
      };
    case "postgres":
      return {
        uri: `postgres://${DATABASE}:${encodeURIComponent(postgresPassword)}@${host}/${DATABASE}`,
        password: postgresPassword,
      };
  }
}

/** Quoted for the configuration files of Redis and NATS. */
function quoted(text: string): string {
  return `"${text.replaceAll("\\", "\\\\").replaceAll('"', '\\"')}"`;
}

function base64(text: string): string {
  return Buffer.from(text).toString("base64");
}
