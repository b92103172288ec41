import cors, { type FastifyCorsOptions } from "@fastify/cors";
import type { FastifyRequest } from "fastify";
import type { Server } from "./typed-server.ts";

const PREFLIGHT_SECONDS = 600;

const CORS: FastifyCorsOptions = {
  methods: "GET, POST",
  // The last two are of W3C Trace Context: instrumented pages add them to each request.
  allowedHeaders: "Authorization, Content-Type, Idempotency-Key, traceparent, tracestate",
  exposedHeaders: "Retry-After",
  maxAge: PREFLIGHT_SECONDS,
};

/**
 * Lets pages of the named origins call us (CORS), compared whole. No credentials: the page's own code sends
 * the token, never the browser. An origin that is not named gets no headers: its browser then withholds the
 * answer from the page.
 * @param origins null for all
 */
export async function allowOrigins(
  app: Server,
  origins: ReadonlySet<string> | null,
): Promise<void> {
  if (origins?.size === 0) return;
  await app.register(cors, {
    delegator: ({ headers }: FastifyRequest, done) => {
      const { origin } = headers;
      done(null, {
        ...CORS,
        origin: origin !== undefined && (origins === null || origins.has(origin)),
        // An OPTIONS that is no preflight is answered like any other method that a route does not have.
        preflight: headers["access-control-request-method"] !== undefined,
      });
    },
  });
}
