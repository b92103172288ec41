/**
 * An HTTP server with as much of the Kubernetes API as a reflector and a client need. It replies from a
 * script: each request gets the next reply, and the last reply is repeated.
 */
import { once } from "node:events";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterFile } from "../../services/testing/after-file.ts";
import { kubeconfig } from "./api-server.ts";

/** The reply to a request. */
export type Reply =
  | {
      readonly kind: "json";
      readonly status?: number;
      readonly body: unknown;
      readonly headers?: Record<string, string>;
    }
  /** Lines of a watch; then the server ends it, resets the connection, or keeps it open. */
  | {
      readonly kind: "stream";
      readonly chunks: readonly string[];
      readonly then: "end" | "reset" | "hang";
    }
  /** The connection is reset before any answer. */
  | { readonly kind: "reset" }
  /** There is no reply. */
  | { readonly kind: "silence" };

interface RecordedRequest {
  readonly method: string;
  readonly path: string;
  readonly query: URLSearchParams;
  readonly authorization: string | undefined;
  /** By performance.now(). */
  readonly atMs: number;
}

export interface FakeApiServer {
  readonly url: string;
  readonly kubeconfigFile: string;
  /** Bearer token that the kubeconfig's user reads. */
  readonly tokenFile: string;
  readonly requests: readonly RecordedRequest[];
  /** Count of all connections so far. */
  readonly connections: number;
  readonly openConnections: number;
  /** Replies to lists and everything else that is not a watch. */
  onCall(...replies: Reply[]): void;
  onWatch(...replies: Reply[]): void;
  /** Sends a line on every open watch. */
  tell(chunk: string): void;
}

export async function startFakeApiServer(): Promise<FakeApiServer> {
  const dir = mkdtempSync(join(tmpdir(), "gavel-fake-api-"));
  const requests: RecordedRequest[] = [];
  const sockets = new Set<Socket>();
  const hanging = new Set<ServerResponse>();
  let connections = 0;
  let calls: Reply[] = [];
  let watches: Reply[] = [];
  const next = (script: Reply[]): Reply => {
    const reply = script.length > 1 ? script.shift() : script[0];
    return reply ?? status(500, "InternalError", "the test has scripted no reply");
  };
  const server = createServer((request: IncomingMessage, response: ServerResponse) => {
    const url = new URL(request.url!, "http://fake");
    const query = url.searchParams;
    const { authorization } = request.headers;
    const atMs = performance.now();
    requests.push({ method: request.method!, path: url.pathname, query, authorization, atMs });
    request.resume();
    play(query.has("watch") ? next(watches) : next(calls), response, hanging);
  });
  server.on("connection", (socket) => {
    connections++;
    sockets.add(socket);
    socket.on("close", () => sockets.delete(socket)).on("error", () => {});
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  afterFile(async () => {
    for (const socket of sockets) socket.destroy();
    server.close();
    await once(server, "close");
    rmSync(dir, { recursive: true, force: true });
  });

  const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  const tokenFile = join(dir, "token");
  const kubeconfigFile = join(dir, "kubeconfig");
  writeFileSync(tokenFile, "first");
  writeFileSync(kubeconfigFile, kubeconfig({ url, tokenFile }));
  return {
    url,
    kubeconfigFile,
    tokenFile,
    requests,
    get connections() {
      return connections;
    },
    get openConnections() {
      return sockets.size;
    },
    onCall: (...replies) => (calls = replies),
    onWatch: (...replies) => (watches = replies),
    tell(chunk) {
      for (const response of hanging) response.write(chunk);
    },
  };
}

function play(reply: Reply, response: ServerResponse, hanging: Set<ServerResponse>): void {
  switch (reply.kind) {
    case "json":
      response.writeHead(reply.status ?? 200, {
        "content-type": "application/json",
        ...reply.headers,
      });
      response.end(JSON.stringify(reply.body));
      return;
    case "reset":
      response.socket?.resetAndDestroy();
      return;
    case "silence":
      return;
    case "stream":
      response.writeHead(200, { "content-type": "application/json" });
      response.flushHeaders();
      void stream(reply, response, hanging);
  }
}

/** Writes the chunks with pauses, so that each arrives separately. */
const BETWEEN_CHUNKS_MS = 15;

async function stream(
  { chunks, then }: Extract<Reply, { kind: "stream" }>,
  response: ServerResponse,
  hanging: Set<ServerResponse>,
): Promise<void> {
  for (const chunk of chunks) {
    response.write(chunk);
    await new Promise((resolve) => setTimeout(resolve, BETWEEN_CHUNKS_MS));
  }
  if (then === "end") response.end();
  if (then === "reset") response.socket?.resetAndDestroy();
  if (then === "hang" && !response.closed) {
    hanging.add(response);
    response.on("close", () => hanging.delete(response));
  }
}

/** A Status object with an error. */
export function status(
  code: number,
  reason: string,
  message: string,
  headers: Record<string, string> = {},
): Reply {
  const body = { apiVersion: "v1", kind: "Status", status: "Failure", code, reason, message };
  return { kind: "json", status: code, body, headers };
}

export const configMap = (name: string, resourceVersion: string, text = "") => ({
  apiVersion: "v1",
  kind: "ConfigMap",
  metadata: { namespace: "default", name, resourceVersion, labels: { auction: `of-${name}` } },
  data: { text },
});

/** A page of a list. As from a real API server, its items have no kind and apiVersion. */
export function listOf(resourceVersion: string, items: readonly object[], next?: string): Reply {
  const bare = items.map((item) => ({ ...item, apiVersion: undefined, kind: undefined }));
  return { kind: "json", body: { metadata: { resourceVersion, continue: next }, items: bare } };
}

/** A line of a watch. */
export const line = (type: string, object: object): string =>
  `${JSON.stringify({ type, object })}\n`;
