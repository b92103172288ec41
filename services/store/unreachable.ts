/** A store cannot serve a call at the moment. The call may be repeated. */
export class StoreUnavailable extends Error {
  override readonly name = "StoreUnavailable";
}

/** ioredis throws plain errors for a connection that is absent, closed or silent. */
const CONNECTION_LOST =
  /^(Stream isn't writeable|Connection is closed|Command timed out|Socket timeout|connect ETIMEDOUT)/;

/** Error replies of a server that works but serves nobody: it loads, is read-only, full, or refuses our password. */
const NOT_SERVING =
  /^(LOADING|READONLY|MASTERDOWN|CLUSTERDOWN|TRYAGAIN|BUSY|OOM|MISCONF|NOREPLICAS|NOMASTERLINK|NOAUTH|NOPERM|WRONGPASS|ERR max number of clients)\b/;

/** Whether Redis did not answer, or answered that it serves nobody now. Other error replies are defects of ours. */
export function isRedisUnreachable({ name, message }: Error): boolean {
  if (name === "MaxRetriesPerRequestError" || name === "AbortError") return true;
  return name === "ReplyError" ? NOT_SERVING.test(message) : CONNECTION_LOST.test(message);
}
