/**
 * Where a test's etcd and kube-apiserver come from: $KUBEBUILDER_ASSETS, the folders that earlier runs
 * left, or Go, which builds them once from its module proxy (some minutes on two cores).
 */
import { execFile, spawnSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);

const KUBERNETES = "v1.34.4";
const ETCD = "v3.6.16";
const BUILD_TIMEOUT_MS = 30 * 60_000;

const OURS = join(homedir(), ".cache/gavel/kubebuilder");

interface Binaries {
  readonly etcd: string;
  readonly apiServer: string;
  /** Null if not installed: then nothing is garbage-collected, and no Deployment gets pods. */
  readonly controllerManager: string | null;
}

/** The installed binaries; null if one is missing. */
function findBinaries(): Binaries | null {
  const folders = [process.env["KUBEBUILDER_ASSETS"] ?? "", OURS].filter(Boolean);
  const find = (name: string) =>
    folders.map((folder) => join(folder, name)).find((path) => existsSync(path)) ?? null;
  const etcd = find("etcd");
  const apiServer = find("kube-apiserver");
  if (etcd === null || apiServer === null) return null;
  return { etcd, apiServer, controllerManager: find("kube-controller-manager") };
}

/** Whether tests that need an API server can run here. If not, it prints the reason; in CI it throws. */
export function canRunApiServer(): boolean {
  if (findBinaries() !== null || hasGo()) return true;
  const what = "neither etcd and kube-apiserver (KUBEBUILDER_ASSETS) nor go to build them";
  if (process.env["CI"]) throw new Error(`${what}: tests against an API server must run in CI`);
  process.stderr.write(`\n*** SKIPPED: tests against a real API server: ${what} ***\n\n`);
  return false;
}

const hasGo = () => spawnSync("go", ["version"], { stdio: "ignore" }).status === 0;

/** Finds the binaries, or builds etcd and kube-apiserver into ~/.cache/gavel/kubebuilder. @throws Error if neither works */
export async function provideBinaries(): Promise<Binaries> {
  const found = findBinaries();
  if (found) return found;
  process.stderr.write(`building etcd ${ETCD} and kube-apiserver ${KUBERNETES} into ${OURS}\n`);
  await buildEtcd(OURS);
  await buildKubernetes("kube-apiserver", OURS);
  return findBinaries()!;
}

/** @param folder where the binary is written; created if missing */
function buildEtcd(folder: string): Promise<void> {
  const module = "go.etcd.io/etcd/server/v3";
  return build({ name: "etcd", program: module, folder, flags: "-s -w" }, () =>
    Promise.resolve(`require ${module} ${ETCD}\n`),
  );
}

/**
 * `go install` cannot build this module: its go.mod replaces libraries by folders that the archive lacks. The
 * libraries are published as v0 of the same version, and a generated module replaces them by those.
 * @param name e.g. "kube-apiserver"
 */
function buildKubernetes(name: string, folder: string): Promise<void> {
  const module = "k8s.io/kubernetes";
  const [major, minor] = KUBERNETES.slice(1).split(".");
  const version = "k8s.io/component-base/version";
  const flags =
    `-s -w -X ${version}.gitVersion=${KUBERNETES} -X ${version}.gitMajor=${major} ` +
    `-X ${version}.gitMinor=${minor} -X ${version}.gitTreeState=clean`;
  return build({ name, program: `${module}/cmd/${name}`, folder, flags }, async (go) => {
    const { GoMod } = JSON.parse(
      await go("mod", "download", "-json", `${module}@${KUBERNETES}`),
    ) as {
      GoMod: string;
    };
    const lines = readFileSync(GoMod, "utf8").split("\n");
    const libraries = lines.flatMap(
      (line) => /^\s+(k8s\.io\/\S+) v0\.0\.0(\s|$)/.exec(line)?.[1] ?? [],
    );
    const published = KUBERNETES.replace(/^v1/, "v0");
    const replaced = libraries.map((library) => `replace ${library} => ${library} ${published}\n`);
    return `require ${module} ${KUBERNETES}\n${replaced.join("")}`;
  });
}

interface Target {
  readonly name: string;
  readonly program: string;
  readonly folder: string;
  /** Linker flags. */
  readonly flags: string;
}

async function build(
  { name, program, folder, flags }: Target,
  requirements: (go: (...args: string[]) => Promise<string>) => Promise<string>,
): Promise<void> {
  const cwd = mkdtempSync(join(tmpdir(), "gavel-go-"));
  const go = async (...args: string[]) => {
    const env = { ...process.env, GOFLAGS: "-mod=mod", GOWORK: "off" };
    const limits = { timeout: BUILD_TIMEOUT_MS, maxBuffer: 64 * 1024 * 1024 };
    return (await run("go", args, { cwd, env, ...limits })).stdout;
  };
  try {
    writeFileSync(join(cwd, "go.mod"), "module binaries\n");
    writeFileSync(join(cwd, "go.mod"), `module binaries\n\n${await requirements(go)}`);
    mkdirSync(folder, { recursive: true });
    // Renamed into place: two test files may build at the same time.
    const unfinished = join(folder, `.${name}.${process.pid}`);
    await go("build", "-ldflags", flags, "-o", unfinished, program);
    renameSync(unfinished, join(folder, name));
  } finally {
    rmSync(cwd, { recursive: true, force: true });
  }
}
