/**
 * Names of everything in NATS. One stream an auction; one subject a lot, so that an outsider can follow
 * a single lot. Events of one partition are in the order of its outbox, whatever their subjects.
 */

/** A token of a subject, and what a stream's name may hold: no dot, space, `*` or `>`. */
const NAME = /^[A-Za-z0-9_-]{1,64}$/;

export function streamNameOf(auctionUid: string): string {
  return `GAVEL_${named(auctionUid)}`;
}

export function subjectOf(auctionUid: string, partition: number, lotId: string): string {
  return `gavel.${named(auctionUid)}.events.${partition}.${named(lotId)}`;
}

/** How those subjects are made: what traces call all of them. */
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
