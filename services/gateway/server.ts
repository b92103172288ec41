/** The HTTP server: its limits, its time limits, and how it answers whatever goes wrong. */
import { getHeapStatistics } from "node:v8";
import underPressure from "@fastify/under-pressure";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import { fastify, type FastifyInstance, type FastifyRequest } from "fastify";
import { MESSAGE_MAX_BYTES } from "../access/limits.ts";
import { answerErrors, problemOfError, ProblemError, sendProblem } from "../access/problem-edge.ts";
import { problem } from "../access/problems.ts";
import { problemOfHost, refuseConnection, refuseUnserved } from "../access/unreadable-requests.ts";
import { type Logger, traceIds } from "../runtime/log.ts";
import { allowOrigins } from "./cors.ts";
import { readJsonStrictly } from "./strict-json.ts";
import { countUnreadable, type Metrics } from "./metrics.ts";
import type { Server } from "./typed-server.ts";

export interface ServerOptions {
  readonly log: Logger;
  readonly metrics: Metrics;
  /** Null for all. */
  readonly allowedOrigins: ReadonlySet<string> | null;
  /** Mean delay of the event loop over a second, above which new requests are refused. */
  readonly eventLoopDelayMaxMs?: number;
}

const REQUEST_TIMEOUT_MS = 5_000;
/** A connection on which nothing moves while a request is under way. */
const CONNECTION_TIMEOUT_MS = 10_000;
/** Longer than load balancers keep theirs (60–72 s), so that they close an idle connection, not we. */
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
const HEADERS_MAX_BYTES = 8_192;
/** A longer name in a URL is refused by the router; a shorter one is judged by its schema. */
const PARAM_MAX_CHARACTERS = 1_024;

const EVENT_LOOP_DELAY_MAX_MS = 300;
const PRESSURE_SAMPLE_MS = 1_000;
const HEAP_MAX_SHARE = 0.9;

export async function createServer(options: ServerOptions): Promise<Server> {
  const { log, metrics, allowedOrigins, eventLoopDelayMaxMs = EVENT_LOOP_DELAY_MAX_MS } = options;
  const app = createFastify(metrics);
  refuseUnserved(app.server);
  app.addHook("onRequest", (request, _reply, done) => {
    const refusal = problemOfHost(request.raw);
    done(refusal === null ? undefined : new ProblemError(refusal));
  });
  readJsonStrictly(app);
  app.decorateRequest("bidderId", "");
  app.decorateRequest("span", null);
  app.decorateRequest("bidId", "");
  app.decorateRequest("outcome", "");

  const { internalErrors } = metrics;
  const fieldsOf = ({ span }: FastifyRequest) => traceIds(span);
  answerErrors(app as unknown as FastifyInstance, { log, internalErrors, fieldsOf });
  app.setNotFoundHandler((_request, reply) =>
    sendProblem(reply, problem("not_found", "No such route; see /openapi.json.")),
  );
  app.addHook("onResponse", (request, reply, done) => {
    const route = request.routeOptions.url ?? "none";
    metrics.requests.observe(request.method, route, reply.statusCode, reply.elapsedTime / 1000);
    done();
  });

  await allowOrigins(app, allowedOrigins);
  let builtMs = Infinity;
  app.addHook("onReady", async () => void (builtMs = performance.now()));
  await app.register(underPressure, {
    sampleInterval: PRESSURE_SAMPLE_MS,
    maxEventLoopDelay: eventLoopDelayMaxMs,
    maxHeapUsedBytes: getHeapStatistics().heap_size_limit * HEAP_MAX_SHARE,
    pressureHandler: async () => {
      // Building the app blocks the event loop; the sample that contains it stays in effect for one more.
      if (performance.now() - builtMs < 2 * PRESSURE_SAMPLE_MS) return;
      throw new ProblemError(
        problem("unavailable", "The gateway is overloaded. Nothing was decided; send it again."),
      );
    },
  });
  return app;
}

function createFastify(metrics: Metrics): Server {
  return fastify({
    logger: false,
    bodyLimit: MESSAGE_MAX_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: "idle",
    // While the gateway drains, a request on an open connection is answered, and the connection then closed.
    return503OnClosing: false,
    http: {
      headersTimeout: REQUEST_TIMEOUT_MS,
      maxHeaderSize: HEADERS_MAX_BYTES,
      connectionsCheckingInterval: 500,
      requireHostHeader: false, // problemOfHost() answers with a problem.
    },
    routerOptions: { maxParamLength: PARAM_MAX_CHARACTERS },
    trustProxy: false,
    // Nothing is repaired: a number in quotes or an unknown field is refused.
    ajv: {
      customOptions: {
        coerceTypes: false,
        removeAdditional: false,
        allErrors: false,
        verbose: true,
      },
    },
    clientErrorHandler: (error, socket) => {
      const code = refuseConnection(error, socket);
      if (code !== null) countUnreadable(metrics, code);
    },
    frameworkErrors: (error, _request, reply) => void sendProblem(reply, problemOfError(error)),
  }).withTypeProvider<TypeBoxTypeProvider>();
}
