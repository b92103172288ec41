/** The floor for a bid: the same framework and schema with a handler that does nothing. */
import { fastify } from "fastify";
import Type from "typebox";

const app = fastify({ logger: false });
app.post(
  "/v1/lots/:lotId/bids",
  {
    schema: {
      body: Type.Object(
        { amountMinor: Type.Integer({ minimum: 1 }) },
        { additionalProperties: false },
      ),
      response: { 201: Type.Object({ accepted: Type.Boolean() }) },
    },
  },
  (_request, reply) => reply.code(201).send({ accepted: true }),
);
const url = await app.listen({ port: 0, host: "127.0.0.1" });
process.send!({ port: Number(new URL(url).port) });
process.on("SIGTERM", () => process.exit(0));
