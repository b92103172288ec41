-- Why: how an auction ends must outlive its Redis. Where it was fenced, a restore puts the fence back; where
-- it was removed, nothing is ever restored; what Verify found is the proof that the record is whole.
-- `suspended_at` is when bidding was suspended, by Redis's clock, so that a restored auction goes on with
-- closes as much later as they would have been.

alter table auctions
  add column suspended_at  timestamptz,
  add column fenced_at     timestamptz,
  add column fenced_id     text,
  add column verified      jsonb,
  add column verified_at   timestamptz,
  add column cleaning_at   timestamptz,
  add column cleaned_at    timestamptz;

comment on column auctions.fenced_at is 'When intake ended for good, by Redis''s clock.';
comment on column auctions.fenced_id is 'The last outbox id of all.';
comment on column auctions.verified is 'What the last comparison of Redis with these tables found.';
comment on column auctions.verified_at is 'When they were last found to be the same.';
comment on column auctions.cleaning_at is
  'From then on nothing of it is put back into Redis: it is being removed there, and from JetStream.';
comment on column auctions.cleaned_at is 'When all of it was gone from Redis and JetStream.';
