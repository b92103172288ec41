/**
 * The chart runs this before an uninstall. It fails while there are Auctions, because only the operator can
 * remove their finalizers, and only its drain proves that their data is archived.
 */
import Type from "typebox";
import { readEnv } from "../../services/runtime/env.ts";
import { isApiError } from "../kube/api-error.ts";
import { type Cluster, connectCluster } from "../kube/client.ts";
import { AUCTION_KIND } from "../api/kind.ts";
import { OperatorEnv, readNamespaces } from "../config.ts";
import type { AnyObject } from "../kube/object.ts";

/** The message lists this many Auctions and counts the others. */
const LISTED_MAX = 10;

/** @param namespaces empty means all */
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
    description:
      "Command that makes Helm treat the release as installed again, after a refused uninstall.",
    minLength: 1,
    default: "helm rollback gavel-operator -n gavel-system",
  }),
});

/**
 * The message of a refused uninstall; null if the uninstall may go on.
 * @param keepCommand Helm leaves a refused release in the state `uninstalling`, in which it cannot upgrade
 */
export function refusalOf(auctions: readonly AnyObject[], keepCommand: string): string | null {
  if (auctions.length === 0) return null;
  const lines = auctions.slice(0, LISTED_MAX).map(({ metadata, ...auction }) => {
    const phase = auction["status"]?.phase ?? "Pending";
    return `  kubectl delete auction -n ${metadata.namespace} ${metadata.name}   # ${phase}`;
  });
  const rest = auctions.length - lines.length;
  return [
    `The uninstall is refused: there ${auctions.length === 1 ? "is 1 Auction" : `are ${auctions.length} Auctions`}. Only the operator can prove an archive complete. Delete them first:`,
    ...lines,
    ...(rest > 0 ? [`  … and ${rest} more: kubectl get auctions -A`] : []),
    "then uninstall again. Or keep the operator, which still runs, and repair the state of the release:",
    `  ${keepCommand}`,
    "Or uninstall without this check and leave the Auctions without an operator: helm uninstall --no-hooks",
  ].join("\n");
}

if (import.meta.main) {
  const env = readEnv(GuardEnv);
  const cluster = connectCluster({ kubeconfigFile: env.KUBECONFIG, customKinds: [AUCTION_KIND] });
  try {
    const auctions = await auctionsIn(cluster, readNamespaces(env.WATCH_NAMESPACES));
    const refusal = refusalOf(auctions, env.KEEP_COMMAND);
    process.stdout.write(`${refusal ?? "no Auctions: the operator can be uninstalled"}\n`);
    process.exitCode = refusal === null ? 0 : 1;
  } catch (error) {
    process.stdout.write(
      `cannot list Auctions, so the uninstall is refused: ${(error as Error).message}\n`,
    );
    process.exitCode = 1;
  } finally {
    await cluster.close();
  }
}
