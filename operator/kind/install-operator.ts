/** Installs the operator on a kind cluster: with helm if it is on PATH, else with manifests/install.yaml. */
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { parseAllDocuments, stringify } from "yaml";
import { hasProgram, runProgram } from "../../servers/run-program.ts";
import { CHART, OPERATOR_NAMESPACE, RELEASE } from "../install/chart.ts";
import type { ChartSettings } from "./config.ts";
import { ROOT } from "./image.ts";
import type { KindCluster } from "./kind-cluster.ts";

const READY_TIMEOUT = "180s";

/** The chart values for an image and settings. */
export function chartValues(image: string, settings: ChartSettings): object {
  const colon = image.lastIndexOf(":");
  return {
    image: { repository: image.slice(0, colon), tag: image.slice(colon + 1) },
    tiers: { otlpEndpoint: settings.OTLP_ENDPOINT ?? "" },
    stores: {
      redis: { image: settings.REDIS_IMAGE, uid: settings.REDIS_UID },
      nats: { image: settings.NATS_IMAGE, uid: settings.NATS_UID },
      postgres: { image: settings.POSTGRES_IMAGE, uid: settings.POSTGRES_UID },
    },
  };
}

/**
 * Installs or upgrades the operator and waits until it is ready.
 * @param image with its tag; the cluster must have it
 * @returns the program that was used
 * @throws Error if the program fails or the operator is not ready within 3 min
 */
export async function installOperator(
  cluster: KindCluster,
  image: string,
  settings: ChartSettings,
): Promise<"helm" | "kubectl"> {
  const program = hasProgram("helm") ? "helm" : "kubectl";
  if (program === "helm") await installWithHelm(cluster, image, settings);
  else await installWithKubectl(cluster, image, settings);
  await cluster.kubectl([
    "rollout",
    "status",
    `deployment/${RELEASE}`,
    "-n",
    OPERATOR_NAMESPACE,
    `--timeout=${READY_TIMEOUT}`,
  ]);
  return program;
}

async function installWithHelm(
  { context }: KindCluster,
  image: string,
  settings: ChartSettings,
): Promise<void> {
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
      READY_TIMEOUT,
    ],
    { input: stringify(chartValues(image, settings)) },
  );
}

async function installWithKubectl(
  { kubectl }: KindCluster,
  image: string,
  settings: ChartSettings,
): Promise<void> {
  const manifest = readFileSync(join(ROOT, "manifests/install.yaml"), "utf8");
  await kubectl(["apply", "--server-side", "--force-conflicts", "-f", "-"], {
    input: withSettings(manifest, image, settings),
  });
}

interface Manifest {
  kind: string;
  spec: {
    template: {
      spec: { containers: { image: string; env: { name: string; value?: string }[] }[] };
    };
  };
}

/** The manifest with these images and this collector. Pure. */
export function withSettings(manifest: string, image: string, settings: ChartSettings): string {
  const { OTLP_ENDPOINT, ...images } = settings;
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
