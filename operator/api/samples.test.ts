import { readdirSync } from "node:fs";
import { expect, test } from "vitest";
import { readAuctionFile } from "../local/auction-file.ts";

test.each(readdirSync("manifests/samples"))("manifests/samples/%s runs on one machine", (file) => {
  expect(readAuctionFile(`manifests/samples/${file}`)).toMatchObject({ ok: true });
});
