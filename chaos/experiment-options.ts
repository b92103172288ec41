/** Options that all experiments of one call share. */
export interface ExperimentOptions {
  readonly loadImage: string;
  readonly tierImage: string | undefined;
  readonly bidsPerSecond: number;
  readonly viewers: number;
  readonly seed: number;
  /** Replaces the scenario's duration; for a random scenario, the total duration. */
  readonly durationSeconds: number | undefined;
  /** Replaces the scenario's number of rounds. */
  readonly rounds: number | undefined;
  /** Leave the auction and the load running at the end. */
  readonly keep: boolean;
  readonly log: (line: string) => void;
}
