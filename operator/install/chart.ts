/** Where the Helm chart is, and the names under which it is installed. */
import { fileURLToPath } from "node:url";

export const CHART = fileURLToPath(new URL("../../charts/gavel-operator", import.meta.url));
export const RELEASE = "gavel-operator";
export const OPERATOR_NAMESPACE = "gavel-system";
