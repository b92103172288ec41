/** The text that `make kind-up` prints when the Auction is ready: commands to paste. */
import { signToken } from "../../services/access/tokens.ts";
import { printMajor } from "../../services/lot/money.ts";
import type { AuctionResource } from "../api/auction-resource.ts";
import { minorUnitDigitsOf } from "../api/currency.ts";
import type { KindCluster } from "./kind-cluster.ts";
import { PROMETHEUS_NAMESPACE, PROMETHEUS_PORT } from "./prometheus.ts";

const TOKEN_LIFETIME_SECONDS = 24 * 3600;

/**
 * A development token, signed with the Secret `<auction>-access`.
 * @throws Error if the Auction takes tokens of an identity provider
 */
export async function bidderTokenOn(
  { kubectl }: KindCluster,
  { metadata, spec }: AuctionResource,
  namespace: string,
  sub: string,
): Promise<string> {
  if (spec.access.jwksUrl !== undefined) {
    throw new Error(
      "cannot sign a token: the Auction takes tokens of an identity provider (spec.access.jwksUrl)",
    );
  }
  const name = `${metadata.name}-access`;
  const data = await kubectl([
    "get",
    "secret",
    name,
    "-n",
    namespace,
    "-o",
    "jsonpath={.data.secret}",
  ]);
  const { issuer, audience } = spec.access;
  const lifetimeSeconds = TOKEN_LIFETIME_SECONDS;
  const secret = Buffer.from(data, "base64").toString();
  return signToken(secret, { sub, issuer, audience, lifetimeSeconds });
}

export async function kindSummary(
  cluster: KindCluster,
  auction: AuctionResource,
  namespace: string,
  phase: string,
  withPrometheus: boolean,
): Promise<string> {
  const { name } = auction.metadata;
  const { spec } = auction;
  const kubectl = `kubectl --context ${cluster.context} -n ${namespace}`;
  const lot = spec.lots[0]!;
  const token =
    spec.access.jwksUrl === undefined
      ? await bidderTokenOn(cluster, auction, namespace, "alice")
      : "<a token of your identity provider>";
  const prometheus = withPrometheus
    ? `
To see the alerts at http://localhost:${PROMETHEUS_PORT}/alerts:

  kubectl --context ${cluster.context} -n ${PROMETHEUS_NAMESPACE} port-forward service/prometheus ${PROMETHEUS_PORT}
`
    : "";
  const archive =
    spec.backing.postgres.mode === "Managed"
      ? `
Query the archive:

  ${kubectl} exec ${name}-postgres-0 -- sh -c 'PGPASSWORD=$(cat /etc/gavel/store/password) \\
    psql -h 127.0.0.1 -U gavel gavel -c "select lot_id, seq, bidder_id, amount_minor from bids order by 1, 2"'
`
      : "";
  return `
${spec.title ?? name}: ${spec.lots.length} lots, ${phase}.

Forward its ports (each command in its own terminal, left running):

  ${kubectl} port-forward service/${name}-gateway 8080
  ${kubectl} port-forward service/${name}-broadcast 8081

Open the page with a token for the bidder alice, valid for a day (signed with Secret ${name}-access):

  http://localhost:8080/#token=${token}

Place a bid of ${printMajor(lot.startMinor, minorUnitDigitsOf(spec))} ${spec.currency} on ${lot.id}:

  curl -sS http://localhost:8080/v1/lots/${lot.id}/bids -d '{"amountMinor": ${lot.startMinor}}' \\
    -H "Content-Type: application/json" -H "Idempotency-Key: $(date +%s%N)" \\
    -H "Authorization: Bearer ${token}"

Watch its status:

  ${kubectl} get auc -w
${archive}${prometheus}
Delete it (the drain first proves the archive): ${kubectl} delete auction ${name}
Delete the cluster:                             make kind-down${cluster.name === "gavel" ? "" : ` KIND_CLUSTER=${cluster.name}`}`;
}
