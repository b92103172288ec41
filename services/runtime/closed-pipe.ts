/**
 * Lets a program run to its end, with its exit code, when the reader of its output exits: `make status | head -3` closes
 * the pipe early. Every other error of an output still ends the process.
 */
export function tolerateClosedPipe(): void {
  for (const output of [process.stdout, process.stderr]) {
    output.on("error", (error: NodeJS.ErrnoException) => {
      if (error.code !== "EPIPE") throw error;
    });
  }
}
