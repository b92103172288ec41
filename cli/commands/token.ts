import { existsSync } from "node:fs";
import { signLocalToken } from "../../operator/local/local-token.ts";
import type { Invocation } from "../command.ts";

const LIFETIME_SECONDS = 24 * 3600;

/** Prints a token and nothing else, for use in a script. */
export async function token({ env, folder, terminal, argument }: Invocation): Promise<number> {
  if (!existsSync(folder.tokenSecretFile)) {
    throw new Error(`${folder.path} has no token secret yet: make up creates one`);
  }
  terminal.say(await signLocalToken(folder, argument ?? env.BIDDER, env.SCOPE, LIFETIME_SECONDS));
  return 0;
}
