-- Why: a dead letter that can never be archived must have an end, and the record of it stays: who discarded it,
-- when and why. A message that was never in the outbox has `stream_id`, its place on the stream: it is read again
-- after a restart or after an unanswered COMMIT, and must be one dead letter.

alter table public.dead_letters
  add column discarded_at    timestamptz,
  add column discarded_by    text,
  add column discard_reason  text,
  add column stream_id       text;

comment on column public.dead_letters.discarded_by is 'The subject of the token that discarded it.';
comment on column public.dead_letters.stream_id is 'Of a message that was never in the outbox: its number on the stream, and when it was stored.';

create unique index dead_letters_of_stream on public.dead_letters (auction_uid, stream_id);
