import { fileURLToPath } from "node:url";
import fastifyStatic from "@fastify/static";
import type { Server } from "./typed-server.ts";

declare module "fastify" {
  interface FastifyContextConfig {
    /** @fastify/under-pressure calls it instead of the server's own handler, and does not declare it. */
    readonly pressureHandler?: () => void;
  }
}

/** Serves the auction's page at `/`. Its content policy allows our own files, our API and the stream. */
export async function pageRoutes(app: Server, streamUrl: string): Promise<void> {
  const policy = [
    "default-src 'none'",
    "script-src 'self'",
    "style-src 'self'",
    "img-src 'self' data:",
    `connect-src 'self' ${new URL(streamUrl).origin}`,
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'",
  ].join("; ");
  await app.register(async (page) => {
    // An overloaded gateway still serves every file of the page: without its script the page could not retry.
    page.addHook("onRoute", (route) => {
      route.config = { ...route.config, pressureHandler: () => {} };
    });
    await page.register(fastifyStatic, {
      root: fileURLToPath(new URL("./page/", import.meta.url)),
      wildcard: false,
      schemaHide: true,
      cacheControl: false,
      acceptRanges: false, // Files this small are sent whole.
      setHeaders: (reply) => {
        reply.header("content-security-policy", policy);
        reply.header("x-content-type-options", "nosniff");
        reply.header("referrer-policy", "no-referrer");
        reply.header("cache-control", "no-cache");
      },
    });
  });
}
