/** Writes what is generated into the tree. */
import { writeFileSync } from "node:fs";
import { configurationText } from "./configuration.ts";

writeFileSync(new URL("../services/CONFIGURATION.md", import.meta.url), configurationText());
