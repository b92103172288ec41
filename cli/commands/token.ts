import { existsSync } from "node:fs";
import { signLocalToken } from "../../operator/local/archival.ts";
import type { Context } from "../commands.ts";

const LIFETIME_SECONDS = 24 * 3600;

/** Prints a token and nothing else. */
export async function token({ env, folder, terminal, argument }: Context): Promise<number> {
  if (!existsSync(folder.tokenSecretFile)) {
    throw new Error(`${folder.path} has no token secret yet: make up makes one`);
  }
  terminal.say(await signLocalToken(folder, argument ?? env.BIDDER, env.SCOPE, LIFETIME_SECONDS));
  return 0;
}
