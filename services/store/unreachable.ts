/** A store cannot serve a call at the moment. The call may be repeated. */
export class StoreUnavailable extends Error {
  override readonly name: string = "StoreUnavailable";
}

/** A store answers and refuses, for a reason that a person must remove. The call may be repeated then. */
export class StoreRefused extends Error {
  override readonly name = "StoreRefused";
}

/** ioredis throws plain errors for a connection that is absent, closed or silent. */
const CONNECTION_LOST =
  /^(Stream isn't writeable|Connection is closed|Command timed out|Socket timeout|connect ETIMEDOUT)/;

/** Error replies of a server that cannot serve now: it loads, is read-only, hangs in a script, or lost its master. */
const NOT_NOW =
  /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|NOREPLICAS|NOMASTERLINK|UNBLOCKED|ERR max number of clients)\b/;

/** Error replies of a server that is full, cannot write to its disk, or refuses the password or a command. */
const REFUSES = /^(OOM|MISCONF|NOAUTH|NOPERM|WRONGPASS|ERR invalid password|ERR unknown command)\b/;

/** The class of an error of ioredis; see access/error-class.ts. Any other error reply is a defect. */
export function classOfRedisError(error: Error): "unreachable" | "refused" | "defect" {
  const { name, message } = error;
  if ("syscall" in error) return "unreachable"; // An error of the socket.
  if (name === "MaxRetriesPerRequestError" || name === "AbortError") return "unreachable";
  if (name !== "ReplyError") return CONNECTION_LOST.test(message) ? "unreachable" : "defect";
  if (NOT_NOW.test(message)) return "unreachable";
  return REFUSES.test(message) ? "refused" : "defect";
}
