/** Every file of the tree that `make generate` writes and a test holds equal to its source. */
import { auctionReference } from "../operator/auction-reference.ts";
import { crdTemplate, crdYaml } from "../operator/crd.ts";
import { configurationText } from "./configuration.ts";

export interface GeneratedFile {
  /** From the root of the tree. */
  readonly path: string;
  text(): string;
}

export const GENERATED: readonly GeneratedFile[] = [
  { path: "services/CONFIGURATION.md", text: configurationText },
  { path: "operator/AUCTION.md", text: auctionReference },
  { path: "manifests/crd.yaml", text: crdYaml },
  { path: "charts/gavel-operator/templates/crd.yaml", text: crdTemplate },
];
