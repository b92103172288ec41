import type { ServedKind } from "../kube/object.ts";
import { API_VERSION, KIND } from "./auction-resource.ts";

/** Where the API server serves Auctions. */
export const AUCTION_KIND = {
  apiVersion: API_VERSION,
  kind: KIND,
  plural: "auctions",
  namespaced: true,
} as const satisfies ServedKind;
