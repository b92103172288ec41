import { isExactAmount } from "../access/exact-amount.ts";
import { invalid, ProblemError } from "../access/problem-edge.ts";
import { problem } from "../access/problems.ts";
import type { Server } from "./typed-server.ts";

const BOM = "\ufeff";

/**
 * Accepts JSON bodies only. A number counts as the integer that it denotes (1e2 is 100); an amount that JSON.parse
 * rounds to an integer (1000.00000000000001) is refused.
 */
export function readJsonStrictly(app: Server): void {
  const parse = app.getDefaultJsonParser("error", "error");
  app.removeAllContentTypeParsers();
  app.addContentTypeParser<string>(
    "application/json",
    { parseAs: "string" },
    (request, text, done) => {
      if (request.headers["content-encoding"] !== undefined) {
        return done(
          new ProblemError(problem("unsupported_media_type", "Send the body unencoded.")),
        );
      }
      if (text.startsWith(BOM)) return done(invalid("body", "begins with a byte order mark"));
      return parse(request, text, (error, body?: { amountMinor?: unknown } | null) => {
        if (!error && Number.isInteger(body?.amountMinor) && !isExactAmount(text)) {
          return done(invalid("amountMinor", "must be integer"));
        }
        done(error, body);
      });
    },
  );
}
