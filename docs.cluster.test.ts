/** Runs the commands of docs/kubernetes.md, exactly as written, on a real API server. */
import { spawnSync } from "node:child_process";
import { beforeAll, describe, expect, test } from "vitest";
import { hasProgram } from "./servers/run-program.ts";
import { startApiServer } from "./operator/testing/api-server.ts";
import { canRunApiServer } from "./operator/testing/kubernetes-binaries.ts";
import { codeBlocks, ROOT_DIR } from "./services/testing/documents.ts";
import { until } from "./services/testing/until.ts";

const START_TIMEOUT_MS = 180_000;
const PAGE = "docs/kubernetes.md";
const missing = [
  ...(hasProgram("kubectl") ? [] : ["kubectl"]),
  ...(canRunApiServer() ? [] : ["kube-apiserver"]),
];

describe.skipIf(missing.length > 0)(`${PAGE} on an API server ${missing.join(", ")}`, () => {
  let kubeconfigFile: string;
  const run = (command: string) => {
    const result = spawnSync("bash", ["--norc", "-euc", command], {
      cwd: ROOT_DIR,
      encoding: "utf8",
      env: { ...process.env, KUBECONFIG: kubeconfigFile },
      timeout: 60_000,
    });
    return [result.status, result.status === 0 ? result.stdout : result.stderr] as const;
  };
  const blocks = (section: string) =>
    codeBlocks(PAGE)
      .filter((block) => block.section === section)
      .map(({ text }) => text.trim());

  beforeAll(async () => {
    ({ kubeconfigFile } = await startApiServer());
  }, START_TIMEOUT_MS);

  const [helm, manifest, auction] = blocks("Installing");

  // Before the manifest: Helm refuses objects that it did not create.
  test.skipIf(!hasProgram("helm"))("helm takes the chart (needs helm)", () => {
    expect(run(`${helm!} --dry-run`)).toEqual([0, expect.stringContaining("gavel-operator")]);
  });

  test("the install manifest is applied, then an Auction, which kubectl lists", async () => {
    const [status, output] = run(manifest!);
    expect([status, output]).toEqual([0, expect.stringContaining("gavel-operator")]);
    const [apply, list] = auction!.split("\n");
    await until("the API server knows Auctions", () => run(apply!)[0] === 0, 30_000);
    // Without -w: a watch does not end.
    expect(run(list!.replace(/ -w$/, ""))).toEqual([0, expect.stringContaining("spring-sale")]);
  });

  test("an Auction takes the annotation that completes its deletion by hand", () => {
    const [annotate] = blocks("Deleting");
    const named = annotate!.replaceAll("NAME", "spring-sale");
    expect(run(named)).toEqual([0, expect.stringContaining("annotated")]);
  });
});
