import { expect, test } from "vitest";
import { parse } from "yaml";
import { CASES } from "./auction-cases.ts";
import { auctionReference } from "./auction-reference.ts";
import { AUCTION_RULES } from "./auction-rules.ts";
import { CLUSTER_CASES } from "./cluster-cases.ts";
import { CONVERSION_CASES } from "./conversion-cases.ts";
import { crd, crdTemplate, crdYaml } from "./crd.ts";
import { validateAuction } from "./validate-auction.ts";

test("crdYaml() says what crd() says", () => {
  expect(parse(crdYaml())).toEqual(crd());
});

test("crdTemplate() can be left out, and is kept by an uninstall only if asked to", () => {
  const lines = crdTemplate().split("\n");
  const directives = lines.filter((line) => line.includes("{{")).map((line) => line.trim());
  expect(directives).toEqual([
    "{{- if .Values.crds.enabled }}",
    "{{- if .Values.crds.keep }}",
    "{{- end }}",
    "{{- end }}",
  ]);
  expect(parse(lines.filter((line) => !line.includes("{{")).join("\n"))).toEqual(crd());
});

test("every field of an Auction is described", () => {
  const rows = auctionReference().split("\n");
  expect(rows.filter((row) => /^\| `.*\|\s*\|$/.test(row))).toEqual([]);
});

test("each rule refuses some case", () => {
  const said = [...CASES, ...CLUSTER_CASES, ...CONVERSION_CASES].flatMap(({ auction }) => {
    const validation = validateAuction(auction);
    return validation.ok ? [] : validation.problems.map(({ message }) => message);
  });
  const silent = AUCTION_RULES.filter(({ message }) => !said.includes(message));
  expect(silent.map(({ message }) => message)).toEqual([]);
});
