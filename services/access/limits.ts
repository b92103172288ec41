/** What both edges accept from outside. Patterns are JSON Schema's: without flags, anchored. */

/** The largest body of a request; what a socket may send is in broadcast/protocol.ts. */
export const MESSAGE_MAX_BYTES = 4096;

/** The longest token that is looked at. */
export const TOKEN_MAX_BYTES = 4096;

/** A lot's name: safe in keys, subjects, URLs and file names. */
export const LOT_ID_PATTERN = "^[a-z0-9]([a-z0-9-]{0,30}[a-z0-9])?$";

/** A bidder's own name for a bid (Idempotency-Key): visible ASCII. */
export const KEY_PATTERN = "^[\\x21-\\x7e]{1,128}$";

/** How many lots or bids a page of a list may hold. */
export const PAGE_MAX = 200;
