import { classOf } from "../../access/error-class.ts";
import { StoreUnavailable } from "../../store/unreachable.ts";
import { WatermarkMoved } from "../postgres/watermark.ts";
import type { RestartReason } from "../reasons.ts";

/** Stops the pipeline. It starts again at the watermark. */
export class PipelineFailure extends StoreUnavailable {
  override readonly name = "PipelineFailure";
  readonly reason: RestartReason;

  constructor(reason: RestartReason, message: string, cause?: unknown) {
    super(message, { cause });
    this.reason = reason;
  }
}

/**
 * Turns an error of `work` into a PipelineFailure with this reason: `await failing("store", work())`.
 * @throws a defect as it is
 */
export async function failing<T>(reason: RestartReason, work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (error) {
    if (error instanceof PipelineFailure) throw error;
    const { message } = error as Error;
    if (error instanceof WatermarkMoved) throw new PipelineFailure("superseded", message, error);
    if (classOf(error) === "defect") throw error;
    throw new PipelineFailure(reason, message, error);
  }
}
