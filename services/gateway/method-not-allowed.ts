import type { HTTPMethods } from "fastify";
import { sendProblem } from "../access/problem-edge.ts";
import { problem } from "../access/problems.ts";
import type { Server } from "./typed-server.ts";

const ALL: readonly HTTPMethods[] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];

/** Answers 405 with `Allow` to other methods on the URLs of the routes that `register` adds. */
export function refuseOtherMethods(app: Server, register: () => void): void {
  const known = new Map<string, Set<string>>();
  let recording = true;
  app.addHook("onRoute", ({ url, method }) => {
    if (!recording) return;
    const methods = known.get(url) ?? new Set<string>();
    known.set(url, methods);
    for (const each of [method].flat()) methods.add(each);
  });
  register();
  recording = false;

  for (const [url, methods] of known) {
    const allow = [...methods].join(", ");
    const refusal = problem("method_not_allowed", `Allowed here: ${allow}.`);
    app.route({
      url,
      method: ALL.filter((method) => !methods.has(method)),
      schema: { hide: true },
      // Before the body is read: no body makes the method allowed.
      onRequest: async (_request, reply) => sendProblem(reply.header("allow", allow), refusal),
      handler: () => {},
    });
  }
}
