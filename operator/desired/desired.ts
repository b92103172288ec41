/**
 * All objects that an Auction is to have. Pure: the same Auction and DesiredInputs give the same objects, field
 * by field, and what was asked for is all that is looked at.
 */
import type { StoredAuction } from "../api/auction-resource.ts";
import type { DesiredInputs } from "./inputs.ts";
import type { KubeObject } from "./kube-object.ts";
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
export function desired(auction: StoredAuction, inputs: DesiredInputs): KubeObject[] {
  return [
    ...serviceAccountsOf(auction, [...TIERS, ...managedStoresOf(auction)]),
    ...secretsOf(auction, inputs),
    ...policiesOf(auction, inputs),
    ...servicesOf(auction),
    ...storeServicesOf(auction),
    ...statefulSetsOf(auction, inputs),
    ...deploymentsOf(auction, inputs),
    ...disruptionBudgetsOf(auction),
    ...autoscalersOf(auction, inputs),
    ...exposureOf(auction, inputs),
    ...podMonitorOf(auction, inputs),
  ];
}
