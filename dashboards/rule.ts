/** The rules for Prometheus, and what an on-call engineer needs to know of each alert. */
interface Recording {
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
  /** page: act now. ticket: act today. */
  readonly severity: "page" | "ticket";
  readonly expr: string;
  /** How long the expression must hold before the alert fires. */
  readonly for: string;
  /** One line for the pager: what happened. */
  readonly summary: string;
  /** The section of RUNBOOK.md. */
  readonly means: string;
  /** For bidders and viewers. */
  readonly impact: string;
  readonly check: string;
  readonly act: string;
}

/** The anchor of a heading, as code hosts generate it. */
export const anchorOf = (name: string): string => name.toLowerCase();
