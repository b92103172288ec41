import { expect, test } from "vitest";
import type { AnyObject } from "../kube/object.ts";
import { refusalOf } from "./uninstall-guard.ts";

const auction = (name: string, status?: object): AnyObject => ({
  apiVersion: "gavel.dev/v1alpha1",
  kind: "Auction",
  metadata: { name, namespace: "sales" },
  ...(status === undefined ? {} : { status }),
});

test("without Auctions the operator can be uninstalled", () => {
  expect(refusalOf([], "helm rollback x 1")).toBeNull();
});

test("a refusal lists the Auctions and the commands that delete them or keep the operator", () => {
  const text = refusalOf(
    [auction("spring", { phase: "Open" }), auction("fresh")],
    "helm rollback x 1",
  );
  expect(text).toContain("there are 2 Auctions");
  expect(text).toContain("kubectl delete auction -n sales spring   # Open");
  expect(text).toContain("kubectl delete auction -n sales fresh   # Pending");
  expect(text).toContain("\n  helm rollback x 1\n");
});

test("at most ten Auctions are listed, the others are counted", () => {
  const many = Array.from({ length: 13 }, (_, i) => auction(`a${i}`));
  const text = refusalOf(many, "helm rollback x 1")!;
  expect(text.match(/kubectl delete/g)).toHaveLength(10);
  expect(text).toContain("… and 3 more");
});
