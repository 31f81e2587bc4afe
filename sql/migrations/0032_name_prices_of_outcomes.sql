-- A computed cost says which price list it rests on, as those of model requests do.
set local lock_timeout = '5s';
set local role tracemill_owner;

alter table raw.outcomes add column if not exists price_version text;
comment on column raw.outcomes.price_version is 'Price list that the cost was computed from; NULL where it was reported, is unknown, or was computed before this was noted.';

reset role;
