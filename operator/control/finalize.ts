/** The end of an Auction: its archive is proven complete, then everything that was made for it goes. */
import { isApiError } from "../kube/api-error.ts";
import { type Archival, ArchivalUnavailable } from "./archival-client.ts";
import { desired } from "../desired/desired.ts";
import type { StoredAuction } from "../api/auction-resource.ts";
import { STORES } from "../api/components.ts";
import type { KubeObject, Scale } from "../desired/context.ts";
import { COMPONENT_LABEL } from "../desired/identity.ts";
import { type DrainSeen, type DrainStep, drainStep, isTimedOut } from "./drain.ts";
import { type AnyObject, KINDS, refOf } from "../kube/object.ts";
import {
  baseOf,
  contextOf,
  definitionFor,
  FINALIZER,
  type Memory,
  type Operator,
  probe,
  writeStatus,
} from "./observe.ts";

const LOOK_AGAIN_MS = 1_000;
const HELD_LOOK_AGAIN_MS = 15_000;
const RELEASE_TRIES = 5;

export async function finalize(
  operator: Operator,
  auction: StoredAuction,
  memory: Memory,
): Promise<{ requeueAfterMs?: number }> {
  if (!(auction.metadata.finalizers ?? []).includes(FINALIZER)) return {};
  const namespaceEnds = await isEnding(operator, auction.metadata.namespace);
  const secrets = await operator.secrets.read(auction);
  const archival = operator.archivalOf(auction, secrets.credentials.operatorToken);
  memory.probe = await probe(archival, memory.probe);
  const startedAtMs = Date.parse(
    auction.status?.drain?.startedAt ?? auction.metadata.deletionTimestamp!,
  );
  const { definition, rulesHash } = definitionFor(auction, secrets);
  const base = baseOf(operator, auction, memory, rulesHash);
  const state = memory.probe.misses === 0 ? memory.probe.state : null;
  const seen: DrainSeen = { ...base, state, startedAtMs, namespaceEnds };
  const next = drainStep(seen);
  const timedOut = isTimedOut(seen);
  const { step, message } = next;
  const drain = { step, message, startedAtMs, timedOut };
  const context = await contextOf(operator, secrets, definition, scaleAt(next));
  const status = await writeStatus(
    operator,
    {
      ...base,
      scale: context.scale,
      obstacle: null,
      secretHashes: secrets.hashes,
      held: {},
      annotations: { paused: false, dryRun: false },
      drain,
    },
    memory,
  );
  if (next.action === "let-go" || next.action === "release") {
    await letGo(operator, auction, next.action === "release" || namespaceEnds);
    if (next.action === "release") tellRelease(operator, auction, next);
    operator.memories.delete(auction.metadata.uid);
    operator.metrics.auctionDrainSeconds.observe((Date.now() - startedAtMs) / 1000);
    return {};
  }
  if (!namespaceEnds) {
    await keepUp(operator, auction, desired({ ...auction, status }, context), next);
  }
  await act(operator, archival, auction, next);
  return { requeueAfterMs: timedOut ? HELD_LOOK_AGAIN_MS : LOOK_AGAIN_MS };
}

async function isEnding({ cluster }: Operator, name: string): Promise<boolean> {
  const namespace = await cluster.get<AnyObject>({ ...KINDS.Namespace, name });
  return namespace === null || namespace.metadata.deletionTimestamp !== undefined;
}

function scaleAt({ action, step }: DrainStep): Scale {
  if (action === "stop-intake") return "no-intake";
  return step === "CloseBroadcast" || step === "Cleanup" ? "no-viewers" : "full";
}

/** What the archive needs is put back where it is missing; of the rest, only what is there is changed. */
async function keepUp(
  { children }: Operator,
  { metadata }: StoredAuction,
  objects: readonly KubeObject[],
  { step, action }: DrainStep,
): Promise<void> {
  const present = new Set(
    children.of(metadata.uid).map(({ kind, metadata }) => `${kind}/${metadata.name}`),
  );
  const told = new Set(action === "stop-intake" ? ["gateway", "broadcast"] : ["broadcast"]);
  const isTold = action === "stop-intake" || step === "CloseBroadcast";
  const kept = objects.filter((object) => {
    if (!object.metadata.ownerReferences) return true;
    if (!isTold || object.kind !== "Deployment") return false;
    const component = object.metadata.labels[COMPONENT_LABEL]!;
    return told.has(component) && present.has(`${object.kind}/${object.metadata.name}`);
  });
  try {
    await children.apply(metadata.uid, kept);
  } catch (error) {
    if (!isApiError(error, "forbidden", "not_found", "invalid")) throw error;
  }
}

async function act(
  { log }: Operator,
  archival: Archival,
  { metadata, spec }: StoredAuction,
  { action }: DrainStep,
): Promise<void> {
  try {
    if (action === "fence") await archival.fence();
    if (action === "verify") await archival.verify();
    if (action === "clean") await archival.clean(spec.deletion.policy === "Abandon");
  } catch (error) {
    if (!(error instanceof ArchivalUnavailable)) throw error;
    log.info({ auction: metadata.name, action, why: error.message }, "asked again later");
  }
}

const SECRETS = ["rules", "access", "operator", "redis", "nats", "postgres"] as const;

/** @param keepData leave volumes and their passwords: what is in them is not all archived */
async function letGo(operator: Operator, auction: StoredAuction, keepData: boolean): Promise<void> {
  const { children, cluster } = operator;
  const { uid, name, namespace } = auction.metadata;
  for (const object of children.of(uid)) await children.remove(object);
  const isRetained = auction.spec.deletion.dataPolicy === "Retain";
  const kept = (component: string) => keepData || (component === "postgres" && isRetained);
  for (const component of SECRETS.filter((component) => !kept(component))) {
    await cluster.remove({ ...KINDS.Secret, namespace, name: `${name}-${component}` });
  }
  await removeVolumes(operator, auction, kept);
  await removeFinalizer(operator, auction);
  children.forget(uid);
  operator.secrets.forget(uid);
}

/** Names of a StatefulSet's claims: `<claim>-<statefulset>-<ordinal>`. */
async function removeVolumes(
  { cluster }: Operator,
  { metadata, spec }: StoredAuction,
  kept: (component: string) => boolean,
): Promise<void> {
  const { name, namespace } = metadata;
  for (const store of STORES) {
    if (spec.backing[store].mode !== "Managed" || kept(store)) continue;
    const claim = { ...KINDS.PersistentVolumeClaim, namespace, name: `data-${name}-${store}-0` };
    await cluster.remove(claim, {});
  }
}

/** Its own way, tried at once: a conflict here must not wait for a queue's backoff. */
async function removeFinalizer({ cluster }: Operator, auction: StoredAuction): Promise<void> {
  const ref = refOf(auction as unknown as AnyObject);
  for (let attempt = 1; ; attempt++) {
    const now = await cluster.get<AnyObject>(ref);
    if (now === null || now.metadata.uid !== auction.metadata.uid) return;
    const index = (now.metadata.finalizers ?? []).indexOf(FINALIZER);
    if (index === -1) return;
    const path = `/metadata/finalizers/${index}`;
    try {
      await cluster.jsonPatch(ref, [
        { op: "test", path, value: FINALIZER },
        { op: "remove", path },
      ]);
      return;
    } catch (error) {
      if (!isApiError(error, "conflict") || attempt === RELEASE_TRIES) throw error;
    }
  }
}

function tellRelease({ events, log }: Operator, auction: StoredAuction, { message }: DrainStep) {
  const { archive } = auction.status ?? {};
  const note = `${message}. Archived up to ${archive?.archivedId ?? "nothing"} of ${archive?.fencedId ?? "an unfenced outbox"}; volumes and stream are left`;
  log.warn({ auction: auction.metadata.name, note }, "released without proof of the archive");
  const event = { type: "Warning", reason: "DrainReleased", action: "Release", note } as const;
  events.record(auction as unknown as AnyObject, event);
}
