/**
 * A scenario file: `# Hypothesis:` and why, a document of ours (kind Scenario: what is done, and what must
 * hold), then Chaos Mesh's own documents. What Chaos Mesh cannot do (SIGKILL without its daemon, wiping a
 * volume) is a step of ours. Scenario documents are read by run.ts and never applied.
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
  /** SIGKILL to every process of one pod each, on its node, as a crash would; `apply` then removes it. */
  Type.Object({ kill: Type.Array(ComponentName, { minItems: 1 }) }, strict),
  /** Its volume claim is deleted: the next pod gets an empty one. */
  Type.Object({ wipe: Type.Enum(["redis", "nats"]) }, strict),
  /** Chaos Mesh's document of that name is applied, and must be injected. */
  Type.Object({ apply: Type.String({ minLength: 1 }) }, strict),
  Type.Object({ pauseSeconds: Type.Number({ minimum: 0, maximum: 600 }) }, strict),
]);

const Seconds = Type.Number({ minimum: 0, maximum: 3_600 });

const Expect = Type.Object(
  {
    /**
     * none: not one attempt fails. in-flight: what was under way on what was killed has an unknown fate, one bid
     * a connection at most, and connections to it are refused until others take its place. in-flight-sockets:
     * that, and only over WebSockets. until-recovered: all may fail until then.
     */
    failedBids: Type.Enum(["none", "in-flight", "in-flight-sockets", "until-recovered"]),
    /** Whether p99 must stay where it was. */
    steadyP99: Type.Boolean(),
    /**
     * undisturbed: none loses its socket. back: those that do come back soon and miss nothing. at-end: however
     * long it takes, all watch at the end.
     */
    viewers: Type.Enum(["undisturbed", "back", "at-end"]),
    /** From the fault's end (for a kill, its moment) to the last second with a failed bid. */
    bidsWithinSeconds: Type.Optional(Seconds),
    /** From the fault's end until every pod is ready. */
    podsWithinSeconds: Seconds,
    /** From then until all that was acknowledged by then is archived. */
    archiveWithinSeconds: Seconds,
    /** nothing; window: at most what the metric showed as not relayed. */
    lost: Type.Enum(["nothing", "window"]),
  },
  strict,
);

export const ScenarioDocument = Type.Object(
  {
    apiVersion: Type.Literal("gavel.dev/chaos"),
    kind: Type.Literal("Scenario"),
    metadata: Type.Object({ name: Type.String({ pattern: "^[a-z0-9-]{1,40}$" }) }, strict),
    spec: Type.Object(
      {
        /** controller: PodChaos, Schedule, Workflow. daemon: the full Chaos Mesh. */
        needs: Type.Enum(["controller", "daemon"]),
        rounds: Type.Integer({ minimum: 1, maximum: 20 }),
        /** How long bids are measured, before each fault and from it on. */
        windowSeconds: Type.Integer({ minimum: 5, maximum: 120 }),
        /** How many of them before each fault, where rounds are too long to be many; without it, one. */
        calmWindows: Type.Optional(Type.Integer({ minimum: 1, maximum: 10 })),
        /** Whether a pod that is not the auction's is killed in each calm window: see bystander.ts. */
        bystander: Type.Optional(Type.Boolean()),
        /** How long what is injected lasts; 0 for a kill. DURATION stands in for it. */
        durationSeconds: Seconds,
        steps: Type.Array(Step),
        /** In place of steps and rounds: documents are drawn at random. */
        random: Type.Optional(
          Type.Object(
            {
              /** Share of the time in which nothing is wrong, at least. */
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
export type ScenarioSpec = Type.Static<typeof ScenarioDocument>["spec"];

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
    throw new Error(`there is no scenario ${name}; there are: ${scenarioNames().join(", ")}`);
  }
  return parseScenario(name, readFileSync(join(FOLDER, `${name}.yaml`), "utf8"));
}

/** @throws Error naming what is wrong with it: a selector that could reach anything else is refused */
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
  if (head.metadata.name !== name) fail("its metadata.name is not its file's");
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
      // Without it nobody learns how it ended: the check is deleted, and its node is the same either way.
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

/** The parts of a Workflow; none of anything else. */
export const templatesOf = ({ spec }: ChaosObject): readonly Template[] =>
  (spec["templates"] ?? []) as Template[];

/** Checks of an endpoint that are part of a Workflow. */
export const statusChecksOf = (object: ChaosObject): readonly Template[] =>
  templatesOf(object).filter(({ templateType }) => templateType === "StatusCheck");

export type Selector = Record<string, any>;

/** All selectors in it, however deep. */
export function selectorsOf(value: unknown): Selector[] {
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([key, inner]) =>
    key === "selector" ? [inner as Selector] : selectorsOf(inner),
  );
}

/** Which part it is that a selector means; null for none of ours. */
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
 * Without a webhook an empty list of namespaces means all of them: kube-system, too. Chaos Mesh looks at nothing
 * else where a selector names pods.
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
