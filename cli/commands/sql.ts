import { existsSync } from "node:fs";
import { readOnlyQuery } from "../../services/archival/postgres/query.ts";
import { readSecretFile } from "../../services/runtime/secret-file.ts";
import type { Context } from "../commands.ts";
import { tableOf } from "../output/table.ts";

const EXAMPLE = 'make sql Q="select lot_id, bidder_id, amount_minor from bids order by seq"';

/** Prints what the archive answers to one statement. */
export async function sql({ env, folder, terminal, argument }: Context): Promise<number> {
  const statement = argument ?? env.Q;
  if (statement === undefined) throw new Error(`no statement; for example: ${EXAMPLE}`);
  const urlFile = folder.urlFile("postgres");
  if (!existsSync(urlFile)) throw new Error(`${folder.path} has no archive yet: make up makes one`);
  const { columns, rows, more } = await readOnlyQuery(readSecretFile(urlFile), statement);
  if (columns.length > 0) terminal.say(tableOf(columns, rows));
  const count = rows.length === 1 ? "1 row" : `${rows.length} rows`;
  terminal.say(`(${count}${more ? " and more, not shown" : ""})`);
  return 0;
}
