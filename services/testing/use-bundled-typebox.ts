/** `node --import` of this file: an import of typebox loads the bundle. vitest.config.ts sets it for all tests. */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";

export const TYPEBOX_PACKAGE = new URL("../../node_modules/typebox/package.json", import.meta.url);
const { version } = JSON.parse(readFileSync(TYPEBOX_PACKAGE, "utf8")) as { version: string };

export const BUNDLE = new URL(`../../node_modules/.cache/typebox-${version}/`, import.meta.url);

registerHooks({
  resolve(specifier, context, nextResolve) {
    const isTypebox = specifier === "typebox" || specifier.startsWith("typebox/");
    if (!isTypebox) return nextResolve(specifier, context);
    const name = specifier.slice("typebox/".length) || "index";
    return { url: new URL(`${name}.mjs`, BUNDLE).href, shortCircuit: true };
  },
});
