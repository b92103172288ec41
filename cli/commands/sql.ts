import { existsSync } from "node:fs";
import { readOnlyQuery } from "../../services/archival/postgres/query.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import type { Invocation } from "../command.ts";
import { tableOf } from "../output/table.ts";

const EXAMPLE = 'make sql Q="select lot_id, bidder_id, amount_minor from bids order by seq"';

/** Prints the result of one read-only statement on the archive. */
export async function sql({ env, folder, terminal, argument }: Invocation): Promise<number> {
  const statement = argument ?? env.Q;
  if (statement === undefined) throw new Error(`no statement given; for example: ${EXAMPLE}`);
  const urlFile = folder.readerUrlFile;
  if (!existsSync(urlFile))
    throw new Error(`${folder.path} has no archive yet: make up creates one`);
  const { columns, rows, more } = await readOnlyQuery(readSecretFile(urlFile), statement);
  if (columns.length > 0) terminal.say(tableOf(columns, rows));
  const count = rows.length === 1 ? "1 row" : `${rows.length} rows`;
  terminal.say(`(${count}${more ? " shown, there are more" : ""})`);
  return 0;
}
