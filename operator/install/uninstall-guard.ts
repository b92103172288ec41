/**
 * What the chart runs before an uninstall: it fails while there are Auctions. Each has a finalizer that
 * only an operator can take away, and data that only its drain proves to be archived.
 */
import Type from "typebox";
import { readEnv } from "../../services/runtime/env.ts";
import { isApiError } from "../kube/api-error.ts";
import { type Cluster, connectCluster } from "../kube/client.ts";
import { AUCTION_KIND } from "../api/kind.ts";
import { OperatorEnv, readNamespaces } from "../config.ts";
import type { AnyObject } from "../kube/object.ts";

/** So many are named; the rest is counted. */
const NAMED = 10;

/** @param namespaces empty: all */
export async function auctionsIn(
  cluster: Pick<Cluster, "list">,
  namespaces: readonly string[],
): Promise<AnyObject[]> {
  const lists = (namespaces.length === 0 ? [undefined] : namespaces).map(async (namespace) => {
    try {
      return await cluster.list<AnyObject>(AUCTION_KIND, namespace ? { namespace } : {});
    } catch (error) {
      if (isApiError(error, "not_found")) return []; // no CRD, so no Auctions
      throw error;
    }
  });
  return (await Promise.all(lists)).flat();
}

const GuardEnv = Type.Object({
  ...Type.Pick(OperatorEnv, ["WATCH_NAMESPACES", "KUBECONFIG"]).properties,
  KEEP_COMMAND: Type.String({
    description: "What makes Helm take the release for installed again, after a refusal.",
    minLength: 1,
    default: "helm rollback gavel-operator -n gavel-system",
  }),
});

/**
 * Why the uninstall is refused; null where it is not.
 * @param keepCommand Helm leaves a refused release as `uninstalling`, in which it upgrades nothing
 */
export function refusalOf(auctions: readonly AnyObject[], keepCommand: string): string | null {
  if (auctions.length === 0) return null;
  const lines = auctions.slice(0, NAMED).map(({ metadata, ...auction }) => {
    const phase = auction["status"]?.phase ?? "Pending";
    return `  kubectl delete auction -n ${metadata.namespace} ${metadata.name}   # ${phase}`;
  });
  const rest = auctions.length - lines.length;
  return [
    `The uninstall is refused: there ${auctions.length === 1 ? "is 1 Auction" : `are ${auctions.length} Auctions`}, whose archives only the operator can prove complete. Delete first:`,
    ...lines,
    ...(rest > 0 ? [`  … and ${rest} more: kubectl get auctions -A`] : []),
    "and uninstall again. Or keep the operator (it goes on running; Helm has to be told):",
    `  ${keepCommand}`,
    "Or leave the Auctions behind without an operator: helm uninstall --no-hooks",
  ].join("\n");
}

if (import.meta.main) {
  const env = readEnv(GuardEnv);
  const cluster = connectCluster({ kubeconfigFile: env.KUBECONFIG, customKinds: [AUCTION_KIND] });
  try {
    const auctions = await auctionsIn(cluster, readNamespaces(env.WATCH_NAMESPACES));
    const refusal = refusalOf(auctions, env.KEEP_COMMAND);
    process.stdout.write(`${refusal ?? "no Auctions: the operator may go"}\n`);
    process.exitCode = refusal === null ? 0 : 1;
  } catch (error) {
    process.stdout.write(`cannot tell whether there are Auctions: ${(error as Error).message}\n`);
    process.exitCode = 1;
  } finally {
    await cluster.close();
  }
}
