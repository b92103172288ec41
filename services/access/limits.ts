/** Limits of what gateway and broadcast accept. Patterns are those of JSON Schema: anchored, without flags. */

/** The largest request body; broadcast/protocol.ts limits messages of a socket. */
export const MESSAGE_MAX_BYTES = 4096;

/** A longer token is refused unread. */
export const TOKEN_MAX_BYTES = 4096;

/** A lotId: safe in keys, subjects, URLs and file names. */
export const LOT_ID_PATTERN = "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$";

/** An Idempotency-Key: visible ASCII. */
export const KEY_PATTERN = "^[\\x21-\\x7e]{1,128}$";

/** Lots, bids or dead letters in a page of a list, at most, and when a request does not say how many. */
export const PAGE_MAX = 200;
export const PAGE_DEFAULT = 50;
