/** The URLs of an auction for bidders and viewers. */
import type { StoredAuction } from "../api/auction-resource.ts";
import { hostOf } from "./identity.ts";

export const STREAM_PATH = "/v1/stream";

interface Endpoints {
  /** Base URL: `/v1/lots/…` is appended. */
  readonly bids: string;
  readonly stream: string;
  readonly page: string;
}

/**
 * Public URLs if the Auction has an exposure, else URLs inside the cluster. TLS is assumed if a certificate
 * is set, or if the name of the Gateway listener contains "https".
 */
export function endpointsOf(auction: StoredAuction): Endpoints {
  const { exposure } = auction.spec;
  if (exposure === undefined) {
    const bids = `http://${hostOf(auction, "gateway")}:8080`;
    const stream = `ws://${hostOf(auction, "broadcast")}:8081${STREAM_PATH}`;
    return { bids, stream, page: `${bids}/` };
  }
  const { host, tlsSecretName, gateway } = exposure;
  const secure = tlsSecretName !== undefined || /https/.test(gateway?.sectionName ?? "");
  const bids = `${secure ? "https" : "http"}://${host}`;
  return {
    bids,
    stream: `${secure ? "wss" : "ws"}://${host}${STREAM_PATH}`,
    page: `${bids}/`,
  };
}
