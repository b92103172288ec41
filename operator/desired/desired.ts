/** All Kubernetes objects of an Auction. Pure: the same Auction and inputs give the same objects. */
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
 * In the order in which they are applied: everything that a pod needs, and the policies that protect it, come
 * before the pod. The Secret `-rules` is missing while a reserve cannot be read (`definition` is null): the
 * caller must not delete an earlier one.
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
