import { signToken } from "../../services/access/tokens.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import type { DataFolder } from "./data-folder.ts";

/** Signs a token with the secret of this folder. */
export function signLocalToken(
  folder: DataFolder,
  sub: string,
  scope: string,
  lifetimeSeconds: number,
): Promise<string> {
  return signToken(readSecretFile(folder.tokenSecretFile), { sub, scope, lifetimeSeconds });
}
