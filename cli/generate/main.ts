/** `make generate`: writes the generated files. */
import { mkdirSync, writeFileSync } from "node:fs";
import { installManifest } from "../../operator/install/install-manifest.ts";
import { GENERATED } from "./generated.ts";
import { tolerateClosedPipe } from "../../services/runtime/closed-pipe.ts";

tolerateClosedPipe();

for (const { path, text } of GENERATED) {
  const file = new URL(`../../${path}`, import.meta.url);
  mkdirSync(new URL(".", file), { recursive: true });
  writeFileSync(file, text());
}

const install = await installManifest(); // from the chart, with the CRD that was written above
if (install === null)
  process.stdout.write("helm is not on PATH: manifests/install.yaml was not generated\n");
else writeFileSync(new URL("../../manifests/install.yaml", import.meta.url), install);
