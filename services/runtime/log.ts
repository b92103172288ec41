import { type Logger, pino } from "pino";

export type { Logger };

/** JSON lines on standard output. Whatever could be a secret is left out, wherever it stands. */
export function createLog(name: string, level: string): Logger {
  return pino({
    name,
    level,
    redact: {
      paths: ["token", "authorization", "password", "*.token", "*.authorization", "*.password"],
      censor: "[redacted]",
    },
    timestamp: pino.stdTimeFunctions.isoTime,
    formatters: { level: (label) => ({ level: label }) },
  });
}
