/**
 * All objects that an Auction is to have. Pure: the same Auction and Context give the same objects, field
 * by field, and what was asked for is all that is looked at.
 */
import type { StoredAuction } from "../api/auction-resource.ts";
import type { Context, KubeObject } from "./context.ts";
import { TIERS } from "../api/components.ts";
import { exposureOf } from "./exposure.ts";
import { policiesOf } from "./policies.ts";
import { secretsOf } from "./secrets.ts";
import { managedStoresOf, statefulSetsOf, storeServicesOf } from "./stores.ts";
import {
  autoscalersOf,
  deploymentsOf,
  disruptionBudgetsOf,
  podMonitorOf,
  serviceAccountsOf,
  servicesOf,
} from "./tiers.ts";

/**
 * In the order in which they are applied: what a pod needs is there before it, and so are the policies
 * that guard it. A Secret that is not among them may be missing only for now (`definition` is null while
 * a reserve cannot be read): an earlier one is left as it is.
 */
export function desired(auction: StoredAuction, context: Context): KubeObject[] {
  return [
    ...serviceAccountsOf(auction, [...TIERS, ...managedStoresOf(auction)]),
    ...secretsOf(auction, context),
    ...policiesOf(auction, context),
    ...servicesOf(auction),
    ...storeServicesOf(auction),
    ...statefulSetsOf(auction, context),
    ...deploymentsOf(auction, context),
    ...disruptionBudgetsOf(auction),
    ...autoscalersOf(auction, context),
    ...exposureOf(auction, context),
    ...podMonitorOf(auction, context),
  ];
}

// What the reconciler needs besides, in one place.
export { endpointsOf } from "./endpoints.ts";
export { ownedByGc } from "./identity.ts";
export { podTemplateOf, revisionOf, withPodTemplate } from "./pod-template.ts";
export { storeAddressOf } from "./policies.ts";
export { replicasOf } from "./tiers.ts";
