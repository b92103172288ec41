/** Prints to the terminal and asks the person at it. */
import { createInterface } from "node:readline/promises";

export interface Terminal {
  say(line: string): void;
  /** Yes if there is no terminal to ask at. */
  confirm(question: string): Promise<boolean>;
  /** No if there is no terminal to ask at. */
  confirmDeletion(question: string): Promise<boolean>;
}

/** @param assumeYes every question is answered with yes */
export function createTerminal(assumeYes: boolean): Terminal {
  const isInteractive = process.stdin.isTTY && process.stdout.isTTY;
  const ask = async (question: string, choices: string): Promise<string> => {
    const lines = createInterface({ input: process.stdin, output: process.stdout });
    try {
      return (await lines.question(`${question} ${choices} `)).trim();
    } finally {
      lines.close();
    }
  };
  return {
    say: (line) => void process.stdout.write(`${line}\n`),
    async confirm(question) {
      if (assumeYes || !isInteractive) return true;
      return /^(y(es)?)?$/i.test(await ask(question, "[Y/n]"));
    },
    async confirmDeletion(question) {
      if (assumeYes) return true;
      return isInteractive && /^y(es)?$/i.test(await ask(question, "[y/N]"));
    },
  };
}
