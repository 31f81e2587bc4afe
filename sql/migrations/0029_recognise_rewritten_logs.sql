-- A log rewritten in place begins as before and need not be shorter: what stands before the place from which reading
-- goes on tells it from one that has grown.
set local lock_timeout = '5s';
set local role tracemill_owner;

alter table ops.ingest_files add column if not exists tail_key text;
comment on column ops.ingest_files.tail_key is 'Keyed hash of the 4 KiB before committed_offset: tells a grown file from one rewritten in place. NULL where it is unknown, and for compressed files.';

reset role;
