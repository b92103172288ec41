/**
 * The stream of an auction. It carries events from the outbox to the archive and keeps recent ones. While Redis has
 * what was relayed, it is never the only copy of an event: it may be lost and is then created again.
 */
import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  type StreamInfo,
} from "@nats-io/jetstream";
import { errors, nanos } from "@nats-io/transport-node";
import type { Bus } from "./connect.ts";
import { consumerNameOf, PARTITION, streamNameOf, subjectsOf } from "./subjects.ts";

/** The stream, or its consumer, went away while it was read. */
export class StreamUnavailable extends Error {
  override readonly name = "StreamUnavailable";
}

interface StreamSettings {
  readonly maxBytes: number;
  /** On how many servers of a NATS cluster each message is. */
  readonly replicas: number;
}

export interface StreamState {
  /** `last_seq` of JetStream: of the newest message ever; 0 for a new stream. */
  readonly lastSeq: number;
  readonly bytes: number;
  /** Publishes beyond this limit are refused. */
  readonly maxBytes: number;
  readonly messages: number;
}

/** Set explicitly because servers differ in the default. We set no Nats-Msg-Id, so nothing is a duplicate. */
const DUPLICATE_WINDOW_MS = 1_000;

/** Messages delivered to the archive and not acknowledged: bounds its memory. */
const MAX_ACK_PENDING = 1_000;

/** Codes of JetStream that is not a cluster, or has too few servers with room. */
const NO_PLACE = new Set([10_005, 10_074]);

/** Whether JetStream cannot place the replicas of a stream: a person must add servers, or lower `streamReplicas`. */
export function isRefusedForReplicas(error: unknown): boolean {
  return error instanceof JetStreamApiError && NO_PLACE.has(error.code);
}

/** Creates the stream, or updates the settings of an existing one. */
export async function ensureStream(
  bus: Bus,
  auctionUid: string,
  { maxBytes, replicas }: StreamSettings,
): Promise<StreamState> {
  const name = streamNameOf(auctionUid);
  const settings = {
    subjects: [subjectsOf(auctionUid)],
    // A full stream refuses: dropping its oldest would drop what is not archived.
    discard: DiscardPolicy.New,
    max_bytes: maxBytes,
    max_age: 0,
    max_msgs: -1,
    duplicate_window: nanos(DUPLICATE_WINDOW_MS),
    num_replicas: replicas,
  };
  const { streams } = bus.manager;
  const known = await streamState(bus, auctionUid);
  const fixed = { name, storage: StorageType.File, retention: RetentionPolicy.Limits };
  const info =
    known === null
      ? await streams.add({ ...fixed, ...settings })
      : await streams.update(name, settings);
  return stateOf(info);
}

/** Null if there is no such stream. */
export async function streamState(bus: Bus, auctionUid: string): Promise<StreamState | null> {
  try {
    return stateOf(await bus.manager.streams.info(streamNameOf(auctionUid)));
  } catch (error) {
    if (isNotFound(error, JetStreamApiCodes.StreamNotFound)) return null;
    throw error;
  }
}

function stateOf({ state, config }: StreamInfo): StreamState {
  const { last_seq: lastSeq, bytes, messages } = state;
  return { lastSeq, bytes, messages, maxBytes: config.max_bytes };
}

/** Deletes the stream with its messages. A missing stream is no error. */
export async function deleteStream(bus: Bus, auctionUid: string): Promise<void> {
  try {
    await bus.manager.streams.delete(streamNameOf(auctionUid));
  } catch (error) {
    if (!isNotFound(error, JetStreamApiCodes.StreamNotFound)) throw error;
  }
}

/**
 * Deletes a stream that JetStream does not serve. If the servers that hold the stream are gone, JetStream deletes it
 * without confirming that.
 * @throws when the request was not sent, or JetStream refuses it
 */
export async function abandonStream(bus: Bus, auctionUid: string): Promise<void> {
  await deleteStream(bus, auctionUid).catch((error: unknown) => {
    if (!isUnanswered(error)) throw error;
  });
}

/** Whether JetStream itself answers, whatever the state of its streams. */
export async function jetStreamAnswers(bus: Bus): Promise<boolean> {
  return bus.manager.getAccountInfo().then(
    () => true,
    () => false,
  );
}

/** Codes of JetStream for a limit of the account or of the memory of its servers, and where it is not enabled. */
const OF_EVERY_STREAM = new Set([10_002, 10_025, 10_028, 10_039, 10_076]);

/** How JetStream refuses to change a stream that somebody sealed. */
const SEALED = /\bsealed stream\b/;

/** Errors of a stream, or of its consumer, that no server serves. */
const UNSERVED = /^(Timeout|NoResponders|JetStream(Status)?)Error$/;

/** Whether creating the stream again may help. It does not help against a lack of space, servers or permissions. */
export function isOfStream(error: unknown): boolean {
  if (error instanceof JetStreamApiError) {
    if (SEALED.test(error.message)) return true;
    const isOfAll = OF_EVERY_STREAM.has(error.code) || isRefusedForReplicas(error);
    return error.status >= 500 && !isOfAll && !isRefusedForSpace(error);
  }
  if (!(error instanceof Error)) return false;
  // The client also throws this when no stream receives a published message.
  if (error.name === "JetStreamNotEnabled") return isOfStream(error.cause);
  return error instanceof errors.RequestError ? error.isNoResponders() : UNSERVED.test(error.name);
}

function isUnanswered(error: unknown): boolean {
  return error instanceof JetStreamApiError
    ? error.status >= 500
    : error instanceof errors.TimeoutError;
}

/** Drops the messages before `seq`. */
export async function purgeBefore(bus: Bus, auctionUid: string, seq: number): Promise<void> {
  await bus.manager.streams.purge(streamNameOf(auctionUid), { seq });
}

/**
 * The last message up to which the archive's consumer has acknowledged every message. 0 if there is no consumer: nothing
 * is known to be read.
 */
export async function lastReadSeq(bus: Bus, auctionUid: string): Promise<number> {
  try {
    const name = consumerNameOf(PARTITION);
    const { ack_floor } = await bus.manager.consumers.info(streamNameOf(auctionUid), name);
    return ack_floor.stream_seq;
  } catch (error) {
    if (isNotFound(error, JetStreamApiCodes.ConsumerNotFound)) return 0;
    throw error;
  }
}

/** Creates the archive's consumer anew: it begins at `startSeq`, without pending messages of an earlier one. */
export async function replaceConsumer(
  bus: Bus,
  auctionUid: string,
  startSeq: number,
  ackWaitMs: number,
): Promise<void> {
  const name = consumerNameOf(PARTITION);
  const { consumers } = bus.manager;
  try {
    await consumers.delete(streamNameOf(auctionUid), name);
  } catch (error) {
    if (!isNotFound(error, JetStreamApiCodes.ConsumerNotFound)) throw error;
  }
  await consumers.add(streamNameOf(auctionUid), {
    durable_name: name,
    // The whole stream: foreign messages to a lot without a partition must be read, too.
    filter_subject: subjectsOf(auctionUid),
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: startSeq,
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(ackWaitMs),
    max_ack_pending: MAX_ACK_PENDING,
    max_deliver: -1,
  });
}

function isNotFound(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}

/** Error texts of JetStream for a full stream or a full disk. */
const FULL = /maximum (bytes|messages) exceeded|insufficient (storage )?resources|no space left/;

/** Whether a publish was refused for lack of space, which an operator must resolve. */
export function isRefusedForSpace(error: unknown): boolean {
  return error instanceof JetStreamApiError && FULL.test(error.message);
}
