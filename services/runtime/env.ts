/** The only reader of process.env. Each process declares its variables in one schema. */
import Type from "typebox";
import { Value } from "typebox/value";

/** Variables of every process. */
export const ProcessEnv = {
  LOG_LEVEL: Type.String({
    description: "Lowest level that is logged: fatal, error, warn, info, debug or trace.",
    pattern: "^(fatal|error|warn|info|debug|trace|silent)$",
    default: "info",
  }),
  DRAIN_MS: Type.Integer({
    description: "How long a process may take to stop after SIGTERM, in ms.",
    minimum: 0,
    maximum: 600_000,
    default: 10_000,
  }),
  DRAIN_NOTICE_MS: Type.Integer({
    description:
      "How long a process keeps working after SIGTERM with /readyz at 503 and without keep-alive, so that load balancers stop sending it work; in ms, before DRAIN_MS begins.",
    minimum: 0,
    maximum: 60_000,
    default: 0,
  }),
};

/** Variables of the tiers that have a public port besides the internal one. */
export const PublicPortEnv = {
  INTERNAL_HOST: Type.Optional(
    Type.String({
      description: "Address to listen on for INTERNAL_PORT. Default: HOST.",
      minLength: 1,
    }),
  ),
  REUSE_PORT: Type.Boolean({
    description:
      "Whether several processes on one machine share PORT; the kernel distributes the connections.",
    default: false,
  }),
};

/**
 * Reads the environment by a schema of flat properties. Numbers and booleans are read from text;
 * defaults are filled in; variables that the schema does not name are ignored.
 * @throws Error that names every wrong variable and why, and never its value, which may be secret
 */
export function readEnv<T extends Type.TObject>(
  schema: T,
  env: NodeJS.ProcessEnv = process.env,
): Type.Static<T> {
  const known = Object.keys(schema.properties);
  const given = Object.fromEntries(
    known.flatMap((name) =>
      env[name] === undefined || env[name] === "" ? [] : [[name, env[name]]],
    ),
  );
  const value = Value.Default(schema, Value.Convert(schema, given));
  const problems = Value.Errors(schema, value);
  if (problems.length > 0) {
    const lines = problems.map((problem) => {
      const missing = (problem as { params?: { requiredProperties?: string[] } }).params;
      const name = problem.instancePath.slice(1) || missing?.requiredProperties?.join(", ") || "?";
      return `  ${name}: ${problem.message}`;
    });
    throw new Error(`wrong configuration:\n${lines.join("\n")}`);
  }
  return value as Type.Static<T>;
}
