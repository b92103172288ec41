/** The HTTP server itself: its limits, its timeouts, and how anything that goes wrong is answered. */
import { getHeapStatistics } from "node:v8";
import underPressure from "@fastify/under-pressure";
import type { TypeBoxTypeProvider } from "@fastify/type-provider-typebox";
import {
  fastify,
  type FastifyBaseLogger,
  type FastifyInstance,
  type FastifyRequest,
  type RawServerDefault,
} from "fastify";
import type { IncomingMessage, ServerResponse } from "node:http";
import { MESSAGE_MAX_BYTES } from "../access/limits.ts";
import { answerErrors, problemOfError, Refused, sendProblem } from "../access/problem-edge.ts";
import { problem } from "../access/problems.ts";
import { type Logger, traceIds } from "../runtime/log.ts";
import { allowOrigins } from "./allow-origins.ts";
import { readJsonStrictly } from "./json.ts";
import { countUnreadable, type Metrics } from "./metrics.ts";
import { refuseConnection } from "./unreadable-requests.ts";

export type Server = FastifyInstance<
  RawServerDefault,
  IncomingMessage,
  ServerResponse,
  FastifyBaseLogger,
  TypeBoxTypeProvider
>;

export interface ServerOptions {
  readonly log: Logger;
  readonly metrics: Metrics;
  readonly allowedOrigins: ReadonlySet<string>;
}

const REQUEST_TIMEOUT_MS = 5_000;
/** A connection on which nothing moves while a request is under way. */
const CONNECTION_TIMEOUT_MS = 10_000;
/** Longer than load balancers keep theirs (60–72 s), so that it is never us who hang up first. */
const KEEP_ALIVE_TIMEOUT_MS = 75_000;
const HEADERS_MAX_BYTES = 8_192;
/** Longer names in a URL are not looked at; shorter ones are judged by their schema. */
const PARAM_MAX_CHARACTERS = 1_024;

/** Mean delay of the event loop over a second, above which new requests only make it worse. */
const EVENT_LOOP_DELAY_MAX_MS = 300;
const HEAP_MAX_SHARE = 0.9;

export async function createServer({
  log,
  metrics,
  allowedOrigins,
}: ServerOptions): Promise<Server> {
  const app = fastify({
    logger: false,
    bodyLimit: MESSAGE_MAX_BYTES,
    requestTimeout: REQUEST_TIMEOUT_MS,
    connectionTimeout: CONNECTION_TIMEOUT_MS,
    keepAliveTimeout: KEEP_ALIVE_TIMEOUT_MS,
    forceCloseConnections: "idle",
    // What arrives on an open connection while we drain is answered, and the connection then closed.
    return503OnClosing: false,
    http: {
      headersTimeout: REQUEST_TIMEOUT_MS,
      maxHeaderSize: HEADERS_MAX_BYTES,
      connectionsCheckingInterval: 500,
    },
    routerOptions: { maxParamLength: PARAM_MAX_CHARACTERS },
    trustProxy: false,
    // Nothing is repaired: a number in quotes or a field too many is the caller's mistake to learn of.
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

  allowOrigins(app, allowedOrigins);
  await app.register(underPressure, {
    maxEventLoopDelay: EVENT_LOOP_DELAY_MAX_MS,
    maxHeapUsedBytes: getHeapStatistics().heap_size_limit * HEAP_MAX_SHARE,
    pressureHandler: async () => {
      throw new Refused(
        problem("unavailable", "The gateway is overloaded. Nothing was decided; send it again."),
      );
    },
  });
  return app;
}
