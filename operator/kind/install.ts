/** The operator on a cluster: by its chart where there is helm, else by the manifest that was rendered from it. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import type { KindEnv } from "./config.ts";
import { ROOT } from "./image.ts";
import type { KindCluster } from "./kind-cluster.ts";
import { hasProgram, runProgram } from "./run-program.ts";

export const RELEASE = "gavel-operator";
export const OPERATOR_NAMESPACE = "gavel-system";
export const CHART = join(ROOT, "charts/gavel-operator");

export type Images = Pick<
  KindEnv,
  "REDIS_IMAGE" | "NATS_IMAGE" | "POSTGRES_IMAGE" | "REDIS_UID" | "NATS_UID" | "POSTGRES_UID"
>;

const WITHIN = "180s";

/** Values of the chart. */
export function valuesOf(image: string, images: Images): object {
  const at = image.lastIndexOf(":");
  return {
    image: { repository: image.slice(0, at), tag: image.slice(at + 1) },
    stores: {
      redis: { image: images.REDIS_IMAGE, uid: images.REDIS_UID },
      nats: { image: images.NATS_IMAGE, uid: images.NATS_UID },
      postgres: { image: images.POSTGRES_IMAGE, uid: images.POSTGRES_UID },
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
  images: Images,
): Promise<"helm" | "kubectl"> {
  const by = hasProgram("helm") ? "helm" : "kubectl";
  if (by === "helm") {
    await runProgram(
      "helm",
      [
        ...["upgrade", "--install", RELEASE, CHART, "--kube-context", context],
        ...["--namespace", OPERATOR_NAMESPACE, "--create-namespace", "--values", "-"],
        ...["--wait", "--timeout", WITHIN],
      ],
      { input: stringify(valuesOf(image, images)) },
    );
  } else {
    const manifest = readFileSync(join(ROOT, "manifests/install.yaml"), "utf8");
    await kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], {
      input: withImages(manifest, image, images),
    });
  }
  const deployment = `deployment/${RELEASE}`;
  await kubectl([
    ...["rollout", "status", deployment, "-n", OPERATOR_NAMESPACE, `--timeout=${WITHIN}`],
  ]);
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

/** The manifest with these images in place of the published ones. Pure. */
export function withImages(manifest: string, image: string, images: Images): string {
  const told: Readonly<Record<string, unknown>> = { ...images, IMAGE: image };
  return parseAllDocuments(manifest)
    .map((document) => {
      const object = document.toJS() as Manifest;
      if (object.kind === "Deployment") {
        for (const container of object.spec.template.spec.containers) {
          container.image = image;
          for (const entry of container.env) {
            if (entry.name in told) entry.value = String(told[entry.name]);
          }
        }
      }
      return stringify(object, { lineWidth: 0, aliasDuplicateObjects: false });
    })
    .join("---\n");
}
