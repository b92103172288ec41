-- Why: the permanent record. `events` is the record itself, row for row what the store decided; `bids`,
-- `lots` and `results` are what one can read off it, written in the same transaction, so that nobody has
-- to parse JSON to ask who won. `watermarks` says how far each outbox is in here: it is the only word on
-- what may be trimmed anywhere else. `dead_letters` holds what could not be archived, so that one bad
-- event stops nothing and is not lost either.
--
-- One archive holds many auctions, one after the other. Migrations only add: the code before this one
-- must run on the schema after it.

create table auctions (
  auction_uid        text primary key,
  name               text not null,
  title              text not null,
  currency           text not null,
  minor_unit_digits  integer not null,
  -- The whole rules file, as it was last registered.
  rules              jsonb not null,
  -- The epoch that a store without this auction was last given it under.
  epoch              bigint not null default 1,
  registered_at      timestamptz not null default now(),
  -- When a store first took it. A store that has no such auction after this has lost its data.
  defined_at         timestamptz
);

create table events (
  auction_uid  text not null,
  lot_id       text not null,
  epoch        bigint not null,
  seq          bigint not null,
  type         text not null,
  at           timestamptz not null,
  body         text not null,
  outbox_id    text not null,
  archived_at  timestamptz not null default now(),
  primary key (auction_uid, lot_id, epoch, seq)
);
comment on column events.body is 'The event''s exact text, byte for byte as the store wrote it.';
comment on column events.outbox_id is 'The outbox entry that it came with.';

create table bids (
  lot_id           text not null,
  amount_minor     bigint not null,
  bidder_id        text not null,
  placed_at        timestamptz not null,
  epoch            bigint not null,
  seq              bigint not null,
  bid_id           text not null unique,
  idempotency_key  text not null,
  auction_uid      text not null,
  primary key (auction_uid, lot_id, epoch, seq)
);
comment on table bids is 'Accepted bids. Amounts in minor units (cents); order of a lot: epoch, seq.';
create index bids_of_bidder on bids (auction_uid, bidder_id);

create table lots (
  lot_id                text not null,
  status                text not null,
  leading_amount_minor  bigint,
  leading_bidder_id     text,
  leading_bid_id        text,
  bid_count             bigint not null,
  opens_at              timestamptz,
  closes_at             timestamptz,
  extensions            integer not null,
  epoch                 bigint not null,
  seq                   bigint not null,
  outbox_id             text not null,
  auction_uid           text not null,
  primary key (auction_uid, lot_id)
);
comment on table lots is 'Each lot after its latest archived event.';
comment on column lots.outbox_id is 'The outbox entry of that event.';

create table results (
  lot_id        text not null,
  outcome       text not null,
  amount_minor  bigint,
  bidder_id     text,
  bid_id        text,
  closed_at     timestamptz not null,
  epoch         bigint not null,
  seq           bigint not null,
  auction_uid   text not null,
  primary key (auction_uid, lot_id)
);
comment on table results is 'How each closed lot ended: sold, reserve_not_met or no_bids.';

create table watermarks (
  auction_uid  text not null,
  partition    integer not null,
  outbox_id    text not null,
  updated_at   timestamptz not null default now(),
  primary key (auction_uid, partition)
);
comment on column watermarks.outbox_id is 'Everything of the outbox up to this id is in here.';

create table dead_letters (
  dead_letter_id  bigint generated always as identity primary key,
  auction_uid     text not null,
  partition       integer not null,
  lot_id          text,
  reason          text not null,
  detail          text not null,
  outbox_id       text,
  -- Of "lost" only: everything after this id and before outbox_id is missing.
  after_id        text,
  body            bytea not null,
  found_at        timestamptz not null default now(),
  replayed_at     timestamptz
);
comment on column dead_letters.reason is
  'undecodable: not events; refused: Postgres cannot hold it; conflict: another event has its seq; '
  'lost: the outbox no longer had what this archive lacks.';
create index dead_letters_of_auction on dead_letters (auction_uid, partition, dead_letter_id);
