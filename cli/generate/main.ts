/** Writes what is generated into the tree. */
import { mkdirSync, writeFileSync } from "node:fs";
import { installManifest } from "../../operator/install/install-manifest.ts";
import { GENERATED } from "./generated.ts";

for (const { path, text } of GENERATED) {
  const file = new URL(`../../${path}`, import.meta.url);
  mkdirSync(new URL(".", file), { recursive: true });
  writeFileSync(file, text());
}

const install = await installManifest(); // from the chart, with the CRD that was written above
if (install === null)
  process.stdout.write("no helm on PATH: manifests/install.yaml stays as it is\n");
else writeFileSync(new URL("../../manifests/install.yaml", import.meta.url), install);
