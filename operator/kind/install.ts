/** The operator on a cluster: by its chart where there is helm, else by the manifest that was rendered from it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import type { Told } from "./config.ts";
import { ROOT } from "./image.ts";
import type { KindCluster } from "./kind-cluster.ts";
import { hasProgram, runProgram } from "./run-program.ts";

export const RELEASE = "gavel-operator";
export const OPERATOR_NAMESPACE = "gavel-system";
export const CHART = join(ROOT, "charts/gavel-operator");

const WITHIN = "180s";

/** Values of the chart. */
export function valuesOf(image: string, told: Told): object {
  const at = image.lastIndexOf(":");
  return {
    image: { repository: image.slice(0, at), tag: image.slice(at + 1) },
    tiers: { otlpEndpoint: told.OTLP_ENDPOINT ?? "" },
    stores: {
      redis: { image: told.REDIS_IMAGE, uid: told.REDIS_UID },
      nats: { image: told.NATS_IMAGE, uid: told.NATS_UID },
      postgres: { image: told.POSTGRES_IMAGE, uid: told.POSTGRES_UID },
    },
  };
}

/**
 * Installs the operator or brings it to this image, and waits until it is ready.
 * @param image with its tag, loaded already
 * @returns by which program
 * @throws Error where it does not get ready within 3 min, or the program refuses
 */
export async function installOperator(
  { context, kubectl }: KindCluster,
  image: string,
  told: Told,
): Promise<"helm" | "kubectl"> {
  const by = hasProgram("helm") ? "helm" : "kubectl";
  if (by === "helm") {
    await runProgram(
      "helm",
      [
        "upgrade",
        "--install",
        RELEASE,
        CHART,
        "--kube-context",
        context,
        "--namespace",
        OPERATOR_NAMESPACE,
        "--create-namespace",
        "--values",
        "-",
        "--wait",
        "--timeout",
        WITHIN,
      ],
      { input: stringify(valuesOf(image, told)) },
    );
  } else {
    const manifest = readFileSync(join(ROOT, "manifests/install.yaml"), "utf8");
    await kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], {
      input: toldTo(manifest, image, told),
    });
  }
  const deployment = `deployment/${RELEASE}`;
  await kubectl(["rollout", "status", deployment, "-n", OPERATOR_NAMESPACE, `--timeout=${WITHIN}`]);
  return by;
}

interface Manifest {
  kind: string;
  spec: {
    template: {
      spec: { containers: { image: string; env: { name: string; value?: string }[] }[] };
    };
  };
}

/** The manifest with these images in place of the published ones, and the collector. Pure. */
export function toldTo(manifest: string, image: string, told: Told): string {
  const { OTLP_ENDPOINT, ...images } = told;
  const values: Readonly<Record<string, unknown>> = { ...images, IMAGE: image };
  return parseAllDocuments(manifest)
    .map((document) => {
      const object = document.toJS() as Manifest;
      if (object.kind === "Deployment") {
        for (const container of object.spec.template.spec.containers) {
          container.image = image;
          for (const entry of container.env) {
            if (entry.name in values) entry.value = String(values[entry.name]);
          }
          if (OTLP_ENDPOINT !== undefined) {
            container.env.push({ name: "OTLP_ENDPOINT", value: OTLP_ENDPOINT });
          }
        }
      }
      return stringify(object, { lineWidth: 0, aliasDuplicateObjects: false });
    })
    .join("---\n");
}
