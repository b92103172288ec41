/** Exit codes of `gavel check`. Part of the interface: scripts rely on these values. */
export const EXIT_CODES = {
  holds: 0,
  verdict: 1,
  usage: 2,
  /** A file, the archive or an auction cannot be read. */
  unreadable: 3,
} as const;
