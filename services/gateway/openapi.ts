import swagger from "@fastify/swagger";
import swaggerUi from "@fastify/swagger-ui";
import { PROBLEMS } from "../access/problems.ts";
import type { Server } from "./typed-server.ts";

const CODES = Object.entries(PROBLEMS)
  .map(([code, { status, title }]) => `- \`${code}\` (${status}): ${title}`)
  .join("\n");

/** Collects the OpenAPI document from the routes: call it before they are registered. */
export async function collectDocument(app: Server): Promise<void> {
  await app.register(swagger, {
    openapi: {
      openapi: "3.1.0",
      info: {
        title: "Gavel gateway",
        version: "1",
        description: `Bids over HTTP. Amounts are integers in minor units. Every refusal is a problem (RFC 9457) with a stable \`code\`. Unknown fields are refused; of two equal names in a JSON object the last counts.\n\nEvery code:\n\n${CODES}`,
      },
      components: {
        securitySchemes: { bearer: { type: "http", scheme: "bearer", bearerFormat: "JWT" } },
      },
    },
  });
}

/** Serves the document: /openapi.json, and /docs as a page. */
export async function documentRoutes(app: Server): Promise<void> {
  app.get("/openapi.json", { schema: { hide: true } }, () => app.swagger());
  await app.register(swaggerUi, { routePrefix: "/docs", staticCSP: true });
}
