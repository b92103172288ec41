/**
 * The names of everything in NATS: one stream an auction, and one subject a lot, so that others can subscribe to a
 * single lot. The stream has the order of the outbox, across subjects.
 */

/** A valid token of a subject or stream name: no dot, space, `*` or `>`. */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

export function streamNameOf(auctionUid: string): string {
  return `GAVEL_${named(auctionUid)}`;
}

export function subjectOf(auctionUid: string, partition: number, lotId: string): string {
  return `gavel.${named(auctionUid)}.events.${partition}.${named(lotId)}`;
}

/** The template of the subjects, as traces name it. */
export const SUBJECT_TEMPLATE = "gavel.{auction}.events.{partition}.{lot}";

/** All lots of one partition, or of all of them. */
export function subjectsOf(auctionUid: string, partition?: number): string {
  return `gavel.${named(auctionUid)}.events.${partition ?? "*"}.*`;
}

/** The partition of an auction: there is one. */
export const PARTITION = 0;

/** The consumer that the archive reads a partition with. */
export function consumerNameOf(partition: number): string {
  return `archive-${partition}`;
}

function named(word: string): string {
  if (!NAME.test(word)) throw new Error(`not usable in a subject: ${JSON.stringify(word)}`);
  return word;
}
