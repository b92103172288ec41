/**
 * The WebSocket server. `ws` does the handshake, reads and checks frames, and closes. Frames that we send are
 * built already (frames.ts) and written to the net.Socket itself. That is sound because `ws` writes whole frames
 * at once where nothing is compressed.
 */
import { createServer, type IncomingMessage, type Server } from "node:http";
import type { AddressInfo, Socket } from "node:net";
import { once } from "node:events";
import { performance } from "node:perf_hooks";
import { pause } from "../runtime/lifecycle.ts";
import { addressesOf, alsoListen } from "../runtime/listen.ts";
import { type WebSocket, WebSocketServer } from "ws";
import { type Problem, problem } from "../access/problems.ts";
import {
  problemOfHost,
  refuseConnection,
  refuseRequest,
  refuseSocket,
  refuseUnserved,
} from "../access/unreadable-requests.ts";
import type { MessageHandler } from "./message-handler.ts";
import { PING_FRAME } from "./frames.ts";
import { Heartbeat } from "./heartbeat.ts";
import type { Metrics } from "./metrics.ts";
import { CLOSE_CODES, type CloseReason, STREAM_MESSAGE_MAX_BYTES } from "./protocol.ts";
import { BEHIND_MAX_MS, type Traffic, Viewer } from "./viewer.ts";

const PATH = "/v1/stream";

/** Time for a viewer to answer our close frame, before its socket is destroyed. */
const CLOSE_TIMEOUT_MS = 2_000;

const FRAGMENTS_MAX = 64;
/** A constant, since @types/ws does not know closeTimeout. */
const SOCKET_OPTIONS = {
  noServer: true,
  clientTracking: false,
  perMessageDeflate: false,
  maxPayload: STREAM_MESSAGE_MAX_BYTES,
  maxFragments: FRAGMENTS_MAX,
  maxBufferedChunks: 4 * FRAGMENTS_MAX,
  closeTimeout: CLOSE_TIMEOUT_MS,
  handleProtocols: () => false as const, // No subprotocol is supported.
} as const;

const HEADERS_MAX_BYTES = 8 * 1024;
const HEADERS_TIMEOUT_MS = 5_000;

/** Connections beyond the sockets: for requests that are refused. */
const SPARE_CONNECTIONS = 200;

const BEHIND_CHECK_MS = 1_000;

/** A drain closes the sockets in so many slices. */
const DRAIN_SLICES = 20;

interface Dependencies {
  readonly messageHandler: MessageHandler;
  readonly metrics: Metrics;
  readonly traffic: Traffic;
  readonly maxSockets: number;
  readonly messagesPerSecond: number;
  /** Null allows pages of every origin. */
  readonly allowedOrigins: ReadonlySet<string> | null;
}

export class StreamServer {
  #draining = false;
  #viewers = new Map<Viewer, WebSocket>();
  #behind = new Set<Viewer>();
  #heartbeat: Heartbeat<Viewer>;
  #stopTimers: (() => void)[] = [];
  readonly #http: Server;
  readonly #dependencies: Dependencies;
  readonly #sockets = new WebSocketServer(SOCKET_OPTIONS);

  constructor(dependencies: Dependencies) {
    this.#dependencies = dependencies;
    this.#http = createServer({
      maxHeaderSize: HEADERS_MAX_BYTES,
      headersTimeout: HEADERS_TIMEOUT_MS,
      requestTimeout: HEADERS_TIMEOUT_MS,
      connectionsCheckingInterval: 1_000,
      keepAliveTimeout: 1_000,
      requireHostHeader: false, // problemOfHost() answers with a problem.
    });
    this.#http.maxConnections = dependencies.maxSockets + SPARE_CONNECTIONS;
    this.#http.on("clientError", (error, socket) => void refuseConnection(error, socket as Socket));
    refuseUnserved(this.#http);
    this.#http.on("request", (request, response) => {
      const isStream = pathOf(request) === PATH;
      const refusal =
        problemOfHost(request) ??
        (isStream
          ? { ...problem("not_found", `Open ${PATH} as a WebSocket.`), status: 426 }
          : problem("not_found", `The stream is at ${PATH}.`));
      refuseRequest(response, refusal, refusal.status === 426 ? { upgrade: "websocket" } : {});
    });
    this.#sockets.on("wsClientError", (error, socket, request) => {
      const [refusal, headers] = handshakeProblem(error, request);
      refuseSocket(socket as Socket, refusal, headers);
    });
    this.#http.on("upgrade", (request, socket, head) =>
      this.#upgrade(request, socket as Socket, head),
    );
    this.#heartbeat = new Heartbeat<Viewer>(
      (viewer) => viewer.writeControl(PING_FRAME),
      (viewer) => {
        dependencies.metrics.dead.inc();
        this.#viewers.get(viewer)?.terminate();
      },
    );
  }

  get count(): number {
    return this.#viewers.size;
  }

  /** Viewers that get no events until their send buffer is empty. */
  get behind(): number {
    return this.#behind.size;
  }

  /** @returns the port */
  async listen(host: string | undefined, port: number, reusePort = false): Promise<number> {
    const [first, ...others] = addressesOf(host);
    this.#http.listen({ host: first, port, reusePort, backlog: 4096 });
    await once(this.#http, "listening");
    await alsoListen(this.#http, others, reusePort);
    const checking = setInterval(() => this.#closeSlow(), BEHIND_CHECK_MS);
    this.#stopTimers = [() => clearInterval(checking), this.#heartbeat.start()];
    return (this.#http.address() as AddressInfo).port;
  }

  #upgrade(request: IncomingMessage, socket: Socket, head: Buffer): void {
    socket.on("error", () => {}); // until ws listens: a disconnecting peer is not an error here
    const refusal = this.#refusalOf(request);
    if (refusal) return refuseSocket(socket, refusal);
    this.#sockets.handleUpgrade(request, socket, head, (ws) => this.#admit(ws, socket));
  }

  #refusalOf(request: IncomingMessage): Problem | null {
    const { maxSockets, allowedOrigins, metrics } = this.#dependencies;
    const { origin } = request.headers;
    const wrongHost = problemOfHost(request);
    if (wrongHost !== null) return wrongHost;
    if (pathOf(request) !== PATH) return problem("not_found", `The stream is at ${PATH}.`);
    if (allowedOrigins && origin !== undefined && !allowedOrigins.has(origin)) {
      metrics.refused.inc({ reason: "origin" });
      return problem("forbidden", "Pages of this origin may not open a stream.");
    }
    const why = this.#draining ? "draining" : this.count >= maxSockets ? "full" : null;
    if (why === null) return null;
    metrics.refused.inc({ reason: why });
    const detail = why === "full" ? "This process is full." : "This process is stopping.";
    return problem("unavailable", detail);
  }

  #admit(ws: WebSocket, socket: Socket): void {
    const { messageHandler, metrics, traffic, messagesPerSecond } = this.#dependencies;
    const viewer = new Viewer(socket, traffic, messagesPerSecond, {
      fellBehind: () => this.#behind.add(viewer),
      close: (reason, hint) => {
        metrics.closes.inc({ reason });
        ws.close(CLOSE_CODES[reason].code, hint ?? reason);
      },
    });
    this.#viewers.set(viewer, ws);
    const leaveHeartbeat = this.#heartbeat.add(viewer);

    ws.on("message", (data, isBinary) => {
      viewer.hasSentSincePing = true;
      if (viewer.closed || !viewer.spendMessage()) return;
      if (isBinary) viewer.close("binary");
      else messageHandler.handle(viewer, (data as Buffer).toString("utf8"));
    });
    ws.on("ping", () => {
      viewer.hasSentSincePing = true;
      viewer.spendMessage();
    });
    ws.on("pong", () => {
      viewer.hasSentSincePing = true;
    });
    // A protocol violation, for which ws has already sent a close code, or a network error.
    ws.on("error", (error) => {
      viewer.closed = true;
      metrics.closes.inc({ reason: reasonOf(error) });
    });
    socket.on("drain", () => {
      if (viewer.behindSinceMs === null || viewer.closed) return;
      viewer.behindSinceMs = null;
      this.#behind.delete(viewer);
      traffic.conflated += messageHandler.sendConflated(viewer);
    });
    ws.on("close", () => {
      viewer.closed = true;
      this.#behind.delete(viewer);
      this.#viewers.delete(viewer);
      leaveHeartbeat();
      messageHandler.unsubscribeAll(viewer);
    });
  }

  #closeSlow(): void {
    const nowMs = performance.now();
    for (const viewer of this.#behind) {
      if (nowMs - (viewer.behindSinceMs ?? nowMs) > BEHIND_MAX_MS) viewer.close("slow");
    }
  }

  /**
   * Accepts no more viewers and closes the connected ones slice by slice. The close frame tells each to reconnect
   * after a short random time, so that they do not all arrive at once. Pending bids are answered first. Takes
   * `withinMs` at most.
   */
  async drain(withinMs: number): Promise<void> {
    this.#draining = true;
    this.#http.close();
    const endMs = performance.now() + withinMs;
    const slicesMs = withinMs / 2;
    for (let slice = DRAIN_SLICES; slice > 0 && this.count > 0; slice--) {
      const open = [...this.#viewers.keys()].filter(
        ({ closed, isClosing }) => !closed && !isClosing,
      );
      for (const viewer of open.slice(0, Math.ceil(open.length / slice))) {
        const retryAfterMs = Math.round(Math.random() * (slicesMs / DRAIN_SLICES));
        viewer.closeAfterBids(JSON.stringify({ retryAfterMs }));
      }
      if (open.length > 0) await pause(slicesMs / DRAIN_SLICES);
    }
    while (this.count > 0 && performance.now() < endMs) await pause(10);
    for (const ws of this.#viewers.values()) ws.terminate();
    for (const stop of this.#stopTimers) stop();
    this.#http.closeAllConnections();
  }
}

/** A request may name scheme and host before the path (RFC 9112, 3.2.2). */
const AUTHORITY = /^[a-z]+:\/\/[^/?#]*/i;

function pathOf({ url = "" }: IncomingMessage): string {
  return url.replace(AUTHORITY, "").replace(/\?.*$/s, "");
}

/** What is wrong with a handshake that `ws` refuses, and the headers of the answer. */
function handshakeProblem(
  { message }: Error,
  { method }: IncomingMessage,
): [Problem, Record<string, string>] {
  if (method !== "GET") {
    return [problem("method_not_allowed", "Allowed here: GET."), { allow: "GET" }];
  }
  const refusal = problem("invalid", `${message}.`, { field: "request" });
  return [refusal, message.includes("Version") ? { "sec-websocket-version": "13, 8" } : {}];
}

/** ws gives its errors codes WS_ERR_…; an error with another code comes from the network. */
function reasonOf(error: Error): CloseReason | "connection_lost" {
  const { code = "" } = error as { code?: string };
  if (code === "WS_ERR_INVALID_UTF8") return "not_utf8";
  if (code === "WS_ERR_UNSUPPORTED_MESSAGE_LENGTH") return "too_large";
  if (code.startsWith("WS_ERR_TOO_MANY")) return "too_many_errors";
  return code.startsWith("WS_ERR_") ? "protocol_error" : "connection_lost";
}
