/** The schema allows several outboxes for an auction. There is one. */
export const PARTITION = 0;
