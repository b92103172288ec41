/** A cluster of this machine, in Docker: made, filled with images, asked, deleted. */
import { join } from "node:path";
import { ROOT } from "./image.ts";
import { runProgram, type RunOptions } from "./run-program.ts";

export interface KindCluster {
  readonly name: string;
  /** Of the kubeconfig. */
  readonly context: string;
  readonly isNew: boolean;
  /** Runs kubectl there, and gives what it wrote. @throws Error with what it complained of */
  kubectl(args: readonly string[], options?: RunOptions): Promise<string>;
}

const READY_WITHIN = "180s";

export async function clusterExists(name: string): Promise<boolean> {
  const clusters = await runProgram("kind", ["get", "clusters"]);
  return clusters.split("\n").includes(name);
}

/**
 * The cluster of that name: made from manifests/kind.yaml where there is none.
 * @throws Error where one is there and does not answer
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
      READY_WITHIN,
      ...(nodeImage === undefined ? [] : ["--image", nodeImage]),
    ]);
  }
  const context = `kind-${name}`;
  const kubectl = (args: readonly string[], options?: RunOptions) =>
    runProgram("kubectl", ["--context", context, ...args], options);
  const answers = () => kubectl(["get", "--raw", "/readyz", "--request-timeout=10s"]);
  try {
    await answers();
  } catch {
    try {
      await runProgram("kind", ["export", "kubeconfig", "--name", name]); // it may know another port
      await answers();
    } catch (error) {
      throw new Error(
        `the kind cluster ${name} does not answer (make kind-down, then again): ${(error as Error).message}`,
      );
    }
  }
  return { name, context, isNew, kubectl };
}

/** @returns false where there was none */
export async function deleteCluster(name: string): Promise<boolean> {
  if (!(await clusterExists(name))) return false;
  await runProgram("kind", ["delete", "cluster", "--name", name]);
  return true;
}

/** Of these images, those that this machine has: the others are for the node to pull. */
export async function localImages(images: readonly string[]): Promise<string[]> {
  const there = await Promise.all(
    images.map((image) =>
      runProgram("docker", ["image", "inspect", "--format", "{{.Id}}", image]).then(
        () => true,
        () => false,
      ),
    ),
  );
  return images.filter((_, i) => there[i]);
}

/** What the node has already is not sent again. */
export async function loadImages(name: string, images: readonly string[]): Promise<void> {
  for (const image of images) {
    await runProgram("kind", ["load", "docker-image", image, "--name", name]);
  }
}
