/**
 * A scenario file: the hypothesis as a comment, a Scenario document (steps and expectations), then documents of
 * Chaos Mesh. Steps `kill` and `wipe` do what Chaos Mesh cannot do: SIGKILL without its daemon, and deleting a
 * volume. Scenario documents are read by run.ts and never applied to the cluster.
 */
import { readdirSync, readFileSync } from "node:fs";
import { basename, join } from "node:path";
import { fileURLToPath } from "node:url";
import Type from "typebox";
import { Value } from "typebox/value";
import { parseAllDocuments } from "yaml";

export const NAMESPACE = "gavel-chaos";
export const AUCTION = "chaos-auction";
export const OPERATOR = {
  namespace: "gavel-system",
  label: "app.kubernetes.io/name",
  lease: "gavel-operator",
} as const;
const FOLDER = fileURLToPath(new URL(".", import.meta.url));

const strict = { additionalProperties: false };

export const COMPONENTS = [
  "redis",
  "nats",
  "postgres",
  "gateway",
  "broadcast",
  "archival",
  "operator",
] as const;
export type Component = (typeof COMPONENTS)[number];
const ComponentName = Type.Enum([...COMPONENTS]);

const Step = Type.Union([
  /** Sends SIGKILL to every process of one pod of each component, as a crash would; `apply` then removes the pod. */
  Type.Object({ kill: Type.Array(ComponentName, { minItems: 1 }) }, strict),
  /** Deletes the volume claim: the next pod gets an empty volume. */
  Type.Object({ wipe: Type.Enum(["redis", "nats"]) }, strict),
  /** Applies the Chaos Mesh document of that name, and requires that it is injected. */
  Type.Object({ apply: Type.String({ minLength: 1 }) }, strict),
  Type.Object({ pauseSeconds: Type.Number({ minimum: 0, maximum: 600 }) }, strict),
]);

const Seconds = Type.Number({ minimum: 0, maximum: 3_600 });

const Expect = Type.Object(
  {
    /**
     * none: no attempt fails. in-flight: bids in flight on the killed pod have an unknown outcome, at most one per
     * connection, and connections to it are refused until it is replaced. in-flight-sockets: the same, and only
     * over WebSockets. until-recovered: every attempt may fail until recovery.
     */
    failedBids: Type.Enum(["none", "in-flight", "in-flight-sockets", "until-recovered"]),
    /** Whether p99 must stay within the limit of the calm windows. */
    steadyP99: Type.Boolean(),
    /**
     * undisturbed: no viewer loses its connection. back: those that do reconnect soon and miss nothing. at-end: all
     * viewers are connected at the end.
     */
    viewers: Type.Enum(["undisturbed", "back", "at-end"]),
    /** From the end of the fault (for a kill, its time) to the last second with a failed bid. */
    bidsWithinSeconds: Type.Optional(Seconds),
    /** From the fault's end until every pod is ready. */
    podsWithinSeconds: Seconds,
    /** From then until everything acknowledged by then is archived. */
    archiveWithinSeconds: Seconds,
    /** nothing; window: at most the events that were not relayed, by the metric. */
    lost: Type.Enum(["nothing", "window"]),
  },
  strict,
);

const ScenarioDocument = Type.Object(
  {
    apiVersion: Type.Literal("gavel.dev/chaos"),
    kind: Type.Literal("Scenario"),
    metadata: Type.Object({ name: Type.String({ pattern: "^[a-z0-9-]{1,40}$" }) }, strict),
    spec: Type.Object(
      {
        /** controller: PodChaos, Schedule, Workflow. daemon: the full Chaos Mesh. */
        needs: Type.Enum(["controller", "daemon"]),
        rounds: Type.Integer({ minimum: 1, maximum: 20 }),
        /** Length of a measured window, before each fault and from its start. */
        windowSeconds: Type.Integer({ minimum: 5, maximum: 120 }),
        /** Number of calm windows before each fault, for scenarios with few long rounds; default 1. */
        calmWindows: Type.Optional(Type.Integer({ minimum: 1, maximum: 10 })),
        /** Whether an unrelated pod is killed in each calm window: see bystander.ts. */
        bystander: Type.Optional(Type.Boolean()),
        /** Duration of the fault; 0 for a kill. DURATION replaces it. */
        durationSeconds: Seconds,
        steps: Type.Array(Step),
        /** Instead of steps and rounds: documents are chosen at random. */
        random: Type.Optional(
          Type.Object(
            {
              /** Minimum share of the time without a fault. */
              calmShare: Type.Number({ minimum: 0, maximum: 1 }),
              atOnceMax: Type.Integer({ minimum: 1, maximum: 6 }),
            },
            strict,
          ),
        ),
        expect: Expect,
      },
      strict,
    ),
  },
  strict,
);

export type Step = Type.Static<typeof Step>;
export type Expect = Type.Static<typeof Expect>;
type ScenarioSpec = Type.Static<typeof ScenarioDocument>["spec"];

/** A document of Chaos Mesh. */
export interface ChaosObject {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: { readonly name: string; readonly namespace: string };
  readonly spec: Readonly<Record<string, any>>;
}

export interface Scenario {
  readonly name: string;
  readonly hypothesis: string;
  readonly spec: ScenarioSpec;
  readonly objects: readonly ChaosObject[];
}

/** Names of all scenario files. */
export function scenarioNames(): string[] {
  return readdirSync(FOLDER)
    .filter((file) => file.endsWith(".yaml") && file !== "auction.yaml")
    .map((file) => basename(file, ".yaml"))
    .sort();
}

export function readScenario(name: string): Scenario {
  if (!scenarioNames().includes(name)) {
    throw new Error(`no scenario ${name}; the scenarios are ${scenarioNames().join(", ")}`);
  }
  return parseScenario(name, readFileSync(join(FOLDER, `${name}.yaml`), "utf8"));
}

/** @throws Error that names the problem. Selectors that could match anything but the auction are refused. */
export function parseScenario(name: string, text: string): Scenario {
  const fail = (why: string): never => {
    throw new Error(`${name}.yaml: ${why}`);
  };
  const hypothesis = /^# Hypothesis:[^\n]*(?:\n#[^\n]*)*/.exec(text)?.[0];
  if (hypothesis === undefined) return fail("it must open with # Hypothesis:");
  const [head, ...objects] = parseAllDocuments(text).map((document) => {
    const [error] = document.errors;
    return error ? fail(error.message) : (document.toJS() as unknown);
  });
  if (!Value.Check(ScenarioDocument, head)) {
    const [error] = Value.Errors(ScenarioDocument, head);
    return fail(`${error?.instancePath} ${error?.message}`);
  }
  if (head.metadata.name !== name) fail("metadata.name differs from the name of the file");
  const named = new Map((objects as ChaosObject[]).map((object) => [object.metadata.name, object]));
  for (const step of head.spec.steps) {
    if ("apply" in step && !named.has(step.apply)) fail(`it has no document ${step.apply}`);
  }
  const { failedBids, bidsWithinSeconds } = head.spec.expect;
  if ((failedBids === "none") !== (bidsWithinSeconds === undefined)) {
    fail("bidsWithinSeconds belongs to every failedBids but none");
  }
  for (const object of named.values()) {
    if (object.apiVersion !== "chaos-mesh.org/v1alpha1") fail(`${object.apiVersion} is not ours`);
    if (object.metadata.namespace !== NAMESPACE) fail("a document is of another namespace");
    for (const check of statusChecksOf(object)) {
      // Otherwise its result is unknown: the check is deleted, and its node ends alike in both cases.
      if (!check.abortWithStatusCheck) fail(`${check.name} needs abortWithStatusCheck: true`);
    }
    const selectors = selectorsOf(object.spec);
    if (selectors.length === 0) fail(`${object.metadata.name} selects nothing`);
    for (const selector of selectors) checkSelector(selector, fail);
  }
  return {
    name,
    hypothesis: hypothesis.replace(/^# ?/gm, ""),
    spec: head.spec,
    objects: [...named.values()],
  };
}

interface Template {
  readonly name: string;
  readonly templateType: string;
  readonly abortWithStatusCheck?: boolean;
}

/** The templates of a Workflow; other kinds have none. */
export const templatesOf = ({ spec }: ChaosObject): readonly Template[] =>
  (spec["templates"] ?? []) as Template[];

/** The StatusChecks of a Workflow. */
export const statusChecksOf = (object: ChaosObject): readonly Template[] =>
  templatesOf(object).filter(({ templateType }) => templateType === "StatusCheck");

export type Selector = Record<string, any>;

/** All selectors in a value, at any depth. */
export function selectorsOf(value: unknown): Selector[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "selector" ? [inner as Selector] : selectorsOf(inner),
  );
}

/** The component that a selector matches; null: none of the auction. */
export function componentOf({ namespaces, labelSelectors = {} }: Selector): Component | null {
  const [namespace, ...more] = (namespaces ?? []) as string[];
  if (more.length > 0) return null;
  if (namespace === OPERATOR.namespace) {
    return labelSelectors[OPERATOR.label] === "gavel-operator" ? "operator" : null;
  }
  if (namespace !== NAMESPACE || labelSelectors["gavel.dev/name"] !== AUCTION) return null;
  const component = labelSelectors["gavel.dev/component"] as Component;
  return COMPONENTS.includes(component) && component !== "operator" ? component : null;
}

/**
 * Without the webhook of Chaos Mesh, an empty list of namespaces matches every namespace, kube-system included, and
 * a list of pods makes it ignore the other fields.
 */
function checkSelector(selector: Selector, fail: (why: string) => never): void {
  const { namespaces, labelSelectors: _, ...others } = selector;
  const [other] = Object.keys(others);
  if (other !== undefined) fail(`a selector may not have ${other}`);
  if (!Array.isArray(namespaces) || namespaces.length === 0) {
    fail("a selector without namespaces would reach every namespace");
  }
  if (componentOf(selector) === null) {
    fail(`a selector means no part of ${AUCTION}: ${JSON.stringify(selector)}`);
  }
}
