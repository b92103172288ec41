/** A kind cluster on this machine: create, load images, run kubectl, delete. */
import { join } from "node:path";
import { ROOT } from "./image.ts";
import { runProgram, type RunOptions } from "../../servers/run-program.ts";

export interface KindCluster {
  readonly name: string;
  /** Its context in the kubeconfig. */
  readonly context: string;
  readonly isNew: boolean;
  /** Runs kubectl on the cluster and returns its output. @throws Error with its error output */
  kubectl(args: readonly string[], options?: RunOptions): Promise<string>;
}

const READY_TIMEOUT = "180s";

async function clusterExists(name: string): Promise<boolean> {
  const clusters = await runProgram("kind", ["get", "clusters"]);
  return clusters.split("\n").includes(name);
}

/**
 * The cluster of this name. It is created from manifests/kind.yaml if it does not exist.
 * @throws Error if the cluster exists and does not answer
 */
export async function ensureCluster(name: string, nodeImage?: string): Promise<KindCluster> {
  const isNew = !(await clusterExists(name));
  if (isNew) {
    await runProgram("kind", [
      "create",
      "cluster",
      "--name",
      name,
      "--config",
      join(ROOT, "manifests/kind.yaml"),
      "--wait",
      READY_TIMEOUT,
      ...(nodeImage === undefined ? [] : ["--image", nodeImage]),
    ]);
  }
  const context = `kind-${name}`;
  const kubectl = (args: readonly string[], options?: RunOptions) =>
    runProgram("kubectl", ["--context", context, ...args], options);
  const checkReady = () => kubectl(["get", "--raw", "/readyz", "--request-timeout=10s"]);
  try {
    await checkReady();
  } catch {
    try {
      await runProgram("kind", ["export", "kubeconfig", "--name", name]); // the API server may have a new port
      await checkReady();
    } catch (error) {
      throw new Error(
        `the kind cluster ${name} does not answer; delete it with make kind-down and try again: ${(error as Error).message}`,
      );
    }
  }
  return { name, context, isNew, kubectl };
}

/** @returns false if there was no such cluster */
export async function deleteCluster(name: string): Promise<boolean> {
  if (!(await clusterExists(name))) return false;
  await runProgram("kind", ["delete", "cluster", "--name", name]);
  return true;
}

/** Those of the images that this machine has. The node pulls the others. */
export async function localImages(images: readonly string[]): Promise<string[]> {
  const isLocal = await Promise.all(
    images.map((image) =>
      runProgram("docker", ["image", "inspect", "--format", "{{.Id}}", image]).then(
        () => true,
        () => false,
      ),
    ),
  );
  return images.filter((_, i) => isLocal[i]);
}

/** Images that the node has are not sent again. */
export async function loadImages(name: string, images: readonly string[]): Promise<void> {
  for (const image of images) {
    await runProgram("kind", ["load", "docker-image", image, "--name", name]);
  }
}
