import type { Server } from "./server.ts";

const PREFLIGHT_SECONDS = 600;

/**
 * Lets pages of the named origins call us (CORS), compared whole. No credentials: a token is sent by
 * the page's own code, never by the browser. An origin that is not named gets no headers, and its
 * browser keeps the answer from it.
 */
export function allowOrigins(app: Server, origins: ReadonlySet<string>): void {
  if (origins.size === 0) return;
  app.addHook("onRequest", async (request, reply) => {
    reply.header("vary", "Origin");
    const { origin } = request.headers;
    if (origin === undefined || !origins.has(origin)) return;
    reply.header("access-control-allow-origin", origin);
    reply.header("access-control-expose-headers", "Retry-After");
    if (request.method !== "OPTIONS" || !request.headers["access-control-request-method"]) return;
    return reply
      .headers({
        "access-control-allow-methods": "GET, POST",
        "access-control-allow-headers": "Authorization, Content-Type, Idempotency-Key",
        "access-control-max-age": PREFLIGHT_SECONDS,
      })
      .code(204)
      .send();
  });
}
