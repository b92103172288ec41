import { problem } from "../access/problems.ts";
import { Refused } from "./refuse.ts";

/**
 * Reads from the store for a request.
 * @throws Refused `unavailable` when it does not answer (a connection's command timeout bounds the wait)
 */
export async function fromStore<T>(read: () => Promise<T>): Promise<T> {
  try {
    return await read();
  } catch (error) {
    throw new Refused(problem("unavailable", "The store cannot be reached."), error);
  }
}
