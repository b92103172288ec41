/**
 * A real API server for one test file: etcd and kube-apiserver on free ports, stopped after the file.
 * Controllers run only with the option `controllers`: without it nothing is garbage-collected, and no
 * Deployment gets a status. There is no scheduler and no node.
 */
import { generateKeyPairSync, randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Agent, request } from "undici";
import { afterFile } from "../../services/testing/after-file.ts";
import { until } from "../../services/testing/until.ts";
import { freePort } from "../../servers/ports.ts";
import { type ServerProcess, startServer } from "../../servers/server-process.ts";
import { provideBinaries } from "./kubernetes-binaries.ts";

export interface TestApiServer {
  readonly url: string;
  /** The administrator's. */
  readonly kubeconfigFile: string;
  /** PEM. */
  readonly ca: string;
  readonly caFile: string;
  /** The administrator's. */
  readonly token: string;
  readonly hasControllers: boolean;
  /** Kills the API server with SIGKILL; etcd continues. */
  kill(): Promise<void>;
  /** Restarts the API server on the same port, with the same certificate. Waits until it is ready. */
  restart(): Promise<void>;
  /** Stops both and deletes the data. Called automatically after the file. */
  stop(): Promise<void>;
}

const READY_TIMEOUT_MS = 90_000;
const CONTROLLERS = "garbagecollector,namespace,deployment,replicaset,statefulset,serviceaccount";

const running = new Set<ServerProcess>();
process.on("exit", () => {
  for (const server of running) server.signal("SIGKILL");
});

/** @param options.controllers also runs the controllers for garbage, namespaces and workloads, if kube-controller-manager is installed */
export async function startApiServer(
  options: { readonly controllers?: boolean } = {},
): Promise<TestApiServer> {
  const binaries = await provideBinaries();
  const dir = mkdtempSync(join(tmpdir(), "gavel-apiserver-"));
  const token = randomBytes(16).toString("hex");
  const files = writeFiles(dir, token);
  const started: ServerProcess[] = [];
  const track = (server: ServerProcess) => {
    started.push(server);
    running.add(server);
    return server;
  };
  const stop = async () => {
    for (const server of started.splice(0).reverse()) {
      await server.kill();
      running.delete(server);
    }
    rmSync(dir, { recursive: true, force: true });
  };
  afterFile(stop);

  const [etcdPort, peerPort, port] = [await freePort(), await freePort(), await freePort()];
  const etcdUrl = `http://127.0.0.1:${etcdPort}`;
  track(
    await startServer({
      name: "etcd",
      command: binaries.etcd,
      cwd: dir,
      logFile: join(dir, "etcd.log"),
      url: etcdUrl,
      port: etcdPort,
      stopSignal: "SIGTERM",
      args: [
        "--data-dir",
        join(dir, "etcd"),
        "--unsafe-no-fsync",
        "--log-level=error",
        "--listen-client-urls",
        etcdUrl,
        "--advertise-client-urls",
        etcdUrl,
        "--listen-peer-urls",
        `http://127.0.0.1:${peerPort}`,
      ],
    }),
  );

  const url = `https://127.0.0.1:${port}`;
  const serve = async () => {
    const server = track(
      await startServer({
        name: "kube-apiserver",
        command: binaries.apiServer,
        cwd: dir,
        logFile: join(dir, "apiserver.log"),
        url,
        port,
        stopSignal: "SIGTERM",
        args: [
          `--etcd-servers=${etcdUrl}`,
          "--bind-address=127.0.0.1",
          `--secure-port=${port}`,
          `--cert-dir=${join(dir, "certs")}`,
          `--token-auth-file=${files.tokens}`,
          "--authorization-mode=RBAC",
          "--service-cluster-ip-range=10.0.0.0/16",
          "--service-account-issuer=https://kubernetes.default.svc",
          `--service-account-key-file=${files.key}`,
          `--service-account-signing-key-file=${files.key}`,
          // No controller creates the default service account of a namespace.
          "--disable-admission-plugins=ServiceAccount",
          "--shutdown-delay-duration=0s",
        ],
      }),
    );
    await ready(url, token, server, dir);
    return server;
  };
  let server = await serve();
  const caFile = join(dir, "certs/apiserver.crt");
  const kubeconfigFile = join(dir, "kubeconfig");
  writeFileSync(kubeconfigFile, kubeconfig({ url, caFile, token }), { mode: 0o600 });

  const hasControllers = options.controllers === true && binaries.controllerManager !== null;
  if (hasControllers) {
    const controllerPort = await freePort();
    track(
      await startServer({
        name: "kube-controller-manager",
        command: binaries.controllerManager!,
        cwd: dir,
        logFile: join(dir, "controllers.log"),
        stopSignal: "SIGTERM",
        url: `https://127.0.0.1:${controllerPort}`,
        port: controllerPort,
        args: [
          `--kubeconfig=${kubeconfigFile}`,
          `--controllers=${CONTROLLERS}`,
          "--bind-address=127.0.0.1",
          `--secure-port=${controllerPort}`,
          "--leader-elect=false",
          `--service-account-private-key-file=${files.key}`,
          `--cert-dir=${join(dir, "controller-certs")}`,
        ],
      }),
    );
  }

  return {
    url,
    kubeconfigFile,
    caFile,
    token,
    hasControllers,
    stop,
    ca: readFileSync(caFile, "utf8"),
    kill: () => server.kill(),
    async restart() {
      await server.kill();
      running.delete(server);
      started.splice(started.indexOf(server), 1);
      server = await serve();
    },
  };
}

function writeFiles(dir: string, token: string): { tokens: string; key: string } {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const [tokens, key] = [join(dir, "tokens.csv"), join(dir, "service-accounts.pem")];
  mkdirSync(join(dir, "certs"));
  writeFileSync(tokens, `${token},admin,admin,system:masters\n`, { mode: 0o600 });
  writeFileSync(key, privateKey.export({ type: "pkcs1", format: "pem" }), { mode: 0o600 });
  return { tokens, key };
}

/** A kubeconfig for one cluster and one bearer of a token. */
export function kubeconfig({
  url,
  caFile,
  token,
  tokenFile,
  namespace = "default",
}: {
  readonly url: string;
  readonly caFile?: string;
  readonly token?: string;
  readonly tokenFile?: string;
  readonly namespace?: string;
}): string {
  return JSON.stringify({
    apiVersion: "v1",
    kind: "Config",
    "current-context": "test",
    contexts: [{ name: "test", context: { cluster: "test", user: "test", namespace } }],
    clusters: [
      {
        name: "test",
        cluster: {
          server: url,
          "certificate-authority": caFile,
          // The client requires this field if there is no TLS.
          "insecure-skip-tls-verify": url.startsWith("http:") || undefined,
        },
      },
    ],
    users: [
      {
        name: "test",
        user:
          tokenFile === undefined
            ? { token }
            : { "auth-provider": { name: "tokenFile", config: { tokenFile } } },
      },
    ],
  });
}

/** Waits until the server is ready and has created its namespaces. */
async function ready(
  url: string,
  token: string,
  server: ServerProcess,
  dir: string,
): Promise<void> {
  // Its certificate is its own; that the right one answers is what the token shows.
  const dispatcher = new Agent({ connect: { rejectUnauthorized: false } });
  const ask = async (path: string) => {
    const { statusCode, body } = await request(url + path, {
      dispatcher,
      headers: { authorization: `Bearer ${token}` },
      headersTimeout: 5_000,
    });
    await body.dump();
    return statusCode === 200;
  };
  let over = false;
  void server.ended.then(() => (over = true));
  try {
    await until(
      "the API server is ready",
      async () => over || ((await ask("/readyz")) && (await ask("/api/v1/namespaces/default"))),
      READY_TIMEOUT_MS,
    );
  } finally {
    await dispatcher.destroy();
  }
  if (over) {
    const log = readFileSync(join(dir, "apiserver.log"), "utf8").slice(-2_000);
    throw new Error(`kube-apiserver ended:\n${log}`);
  }
}
