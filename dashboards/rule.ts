/** What Prometheus is given: rules, and what a person needs to know of each alert. */
export interface Recording {
  readonly record: string;
  readonly expr: string;
}

export interface Alerting {
  readonly alert: string;
  readonly expr: string;
  readonly for: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly annotations: Readonly<Record<string, string>>;
}

export type Rule = Recording | Alerting;

export interface RuleGroup {
  readonly name: string;
  readonly rules: readonly Rule[];
}

export interface Alert {
  readonly name: string;
  /** page: somebody gets up. ticket: somebody looks within a day. */
  readonly severity: "page" | "ticket";
  readonly expr: string;
  /** How long it must hold. */
  readonly for: string;
  /** One line, for a pager. */
  readonly summary: string;
  /** The section of RUNBOOK.md: what it means, what to look at, what to do. */
  readonly means: string;
  readonly look: string;
  readonly act: string;
}

/** The heading's anchor, as code hosts make it. */
export const anchorOf = (name: string): string => name.toLowerCase();
