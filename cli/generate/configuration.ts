/** The configuration reference, from the schemas that the processes themselves read. */
import type Type from "typebox";
import { OperatorEnv } from "../../operator/config.ts";
import { KindEnv } from "../../operator/kind/config.ts";
import { LocalEnv } from "../../operator/local/config.ts";
import { ArchivalEnv } from "../../services/archival/config.ts";
import { BroadcastEnv } from "../../services/broadcast/config.ts";
import { GatewayEnv } from "../../services/gateway/config.ts";
import { CommandEnv } from "../config.ts";

const SECTIONS: readonly { title: string; about: string; schema: Type.TObject }[] = [
  {
    title: "make up",
    about: "Variables of `make up` and its companions, as in `make up GATEWAY_PORT=8090`.",
    schema: LocalEnv,
  },
  {
    title: "make token, sql, logs",
    about: "What the other commands take besides.",
    schema: CommandEnv,
  },
  {
    title: "make image, kind-up, kind-down",
    about: "An Auction on a kind cluster of this machine. Each image is a variable.",
    schema: KindEnv,
  },
  {
    title: "operator",
    about: "The process that runs Auctions on a cluster. Its chart sets these from its values.",
    schema: OperatorEnv,
  },
  { title: "gateway", about: "The process that takes bids.", schema: GatewayEnv },
  {
    title: "broadcast",
    about: "The process that holds the viewers' sockets.",
    schema: BroadcastEnv,
  },
  { title: "archival", about: "The process that keeps the record.", schema: ArchivalEnv },
];

export function configurationText(): string {
  const sections = SECTIONS.map(({ title, about, schema }) => {
    return `## ${title}\n\n${about}\n\n${tableOf(schema)}`;
  });
  return `# Configuration

Written by \`make generate\` from the \`config.ts\` of each process: change it there. Each process reads
environment variables, once, and does not start with a wrong one. Secrets are files whose text is the
value, so that they stand in no environment.

${sections.join("\n\n")}
`;
}

interface Property {
  readonly type?: string;
  readonly description?: string;
  readonly default?: unknown;
  readonly minimum?: number;
  readonly maximum?: number;
  readonly pattern?: string;
  readonly enum?: readonly unknown[];
  readonly anyOf?: readonly { readonly const?: unknown }[];
}

function tableOf(schema: Type.TObject): string {
  const required = new Set<string>(schema.required ?? []);
  const properties = Object.entries(schema.properties as Record<string, Property>);
  const rows = properties.map(([name, property]) => {
    const fallback =
      property.default !== undefined
        ? code(String(property.default))
        : required.has(name)
          ? "required"
          : "none";
    return `| \`${name}\` | ${valuesOf(property)} | ${fallback} | ${cell(property.description ?? "")} |`;
  });
  return ["| variable | values | default | meaning |", "|---|---|---|---|", ...rows].join("\n");
}

function valuesOf({ type, minimum, maximum, pattern, ...property }: Property): string {
  const words = property.enum ?? property.anyOf?.map((option) => option.const);
  if (words !== undefined) return words.map((word) => code(String(word))).join(", ");
  if (type === "integer" || type === "number") {
    return `${type}, ${minimum ?? "−∞"} … ${maximum ?? "∞"}`;
  }
  if (type === "boolean") return "`true` (or `1`), `false`";
  return pattern === undefined ? "text" : `text, ${code(pattern)}`;
}

function code(text: string): string {
  return text === "" ? "empty" : `\`${cell(text)}\``;
}

function cell(text: string): string {
  return text.replaceAll("|", "\\|").replaceAll("\n", " ");
}
