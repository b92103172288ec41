/** Where bidders and viewers reach an auction. */
import type { StoredAuction } from "../api/auction-resource.ts";
import { hostOf } from "./identity.ts";

export const STREAM_PATH = "/v1/stream";

export interface Endpoints {
  /** What `/v1/lots/…` is appended to. */
  readonly bids: string;
  readonly stream: string;
  readonly page: string;
}

/**
 * With exposure the public ones, else those inside the cluster. TLS is taken to be there where a
 * certificate is named, or a listener of the Gateway that is called https.
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
