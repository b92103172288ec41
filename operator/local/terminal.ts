/** What is said to the person at the terminal, and asked of them. */
import { createInterface } from "node:readline/promises";

export interface Terminal {
  say(line: string): void;
  /** Where nobody can be asked, the answer is yes. */
  agrees(question: string): Promise<boolean>;
  /** Where nobody can be asked, the answer is no. */
  agreesToDelete(question: string): Promise<boolean>;
}

/** @param yes answers every question */
export function createTerminal(yes: boolean): Terminal {
  const isAttached = process.stdin.isTTY && process.stdout.isTTY;
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
    async agrees(question) {
      if (yes || !isAttached) return true;
      return /^(y(es)?)?$/i.test(await ask(question, "[Y/n]"));
    },
    async agreesToDelete(question) {
      if (yes) return true;
      return isAttached && /^y(es)?$/i.test(await ask(question, "[y/N]"));
    },
  };
}
