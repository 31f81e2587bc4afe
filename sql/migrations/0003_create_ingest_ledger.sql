set local lock_timeout = '5s';
set local role tracemill_owner;

create table if not exists ops.ingest_files (
    file_key text not null,
    path text not null,
    device_id text not null,
    source text,
    project_id text,
    size_bytes bigint not null,
    modified_at timestamptz not null,
    content_key text not null,
    committed_offset bigint not null default 0,
    committed_lines bigint not null default 0,
    is_read_to_end boolean not null default false,
    resume_state jsonb not null default '{}',
    unknown_lines jsonb not null default '{}',
    quarantined_count bigint not null default 0,
    first_seen_at timestamptz not null default now(),
    last_ingested_at timestamptz not null default now(),
    constraint ingest_files_pkey primary key (file_key),
    constraint committed_offset_is_not_negative check (committed_offset >= 0)
);
comment on table ops.ingest_files is 'Ledger, one row per file ever read. The offset is committed in the same transaction as the rows that came from before it.';
comment on column ops.ingest_files.file_key is 'Keyed hash of device and absolute path: the file''s identity, also where the path holds a secret.';
comment on column ops.ingest_files.path is 'Absolute path, redacted.';
comment on column ops.ingest_files.device_id is 'Machine that read the file.';
comment on column ops.ingest_files.source is 'Format found by content; NULL where none was recognised.';
comment on column ops.ingest_files.project_id is 'Project the file''s records went to.';
comment on column ops.ingest_files.size_bytes is 'Size on disk when last read.';
comment on column ops.ingest_files.modified_at is 'Modification time when last read.';
comment on column ops.ingest_files.content_key is 'Keyed hash of the first 4 KiB: tells a grown file from a replaced one.';
comment on column ops.ingest_files.committed_offset is 'Bytes (after decompression) that need not be read again: the start of the last open execution.';
comment on column ops.ingest_files.committed_lines is 'Lines before committed_offset.';
comment on column ops.ingest_files.is_read_to_end is 'Whether everything that was in the file at modified_at has been committed.';
comment on column ops.ingest_files.resume_state is 'What the reader needs to go on from committed_offset.';
comment on column ops.ingest_files.unknown_lines is 'Lines of types the reader does not know, counted by type.';
comment on column ops.ingest_files.quarantined_count is 'Lines of this file in quarantine.';
comment on column ops.ingest_files.first_seen_at is 'When the file was first read.';
comment on column ops.ingest_files.last_ingested_at is 'When the file was last read.';

create table if not exists ops.quarantined_records (
    record_key text not null,
    file_key text not null,
    path text not null,
    line_number bigint not null,
    byte_offset bigint not null,
    byte_length bigint not null,
    source text,
    project_id text,
    reason text not null,
    detail text not null,
    sample text not null,
    quarantined_at timestamptz not null default now(),
    constraint quarantined_records_pkey primary key (record_key)
);
create index if not exists quarantined_records_by_time on ops.quarantined_records (quarantined_at);
create index if not exists quarantined_records_by_file on ops.quarantined_records (file_key, byte_offset);
comment on table ops.quarantined_records is 'Lines that could not be understood, one row per line: kept out of the numbers, never lost.';
comment on column ops.quarantined_records.record_key is 'Keyed hash of file, offset, content and reason: the same bad line is kept once.';
comment on column ops.quarantined_records.file_key is 'File in ops.ingest_files.';
comment on column ops.quarantined_records.path is 'Path of the file, redacted.';
comment on column ops.quarantined_records.line_number is 'Line in the file, from 1.';
comment on column ops.quarantined_records.byte_offset is 'First byte of the line, from 0.';
comment on column ops.quarantined_records.byte_length is 'Length of the line in bytes.';
comment on column ops.quarantined_records.source is 'Format of the file.';
comment on column ops.quarantined_records.project_id is 'Project of the file, where known.';
comment on column ops.quarantined_records.reason is 'Short name of what was wrong.';
comment on column ops.quarantined_records.detail is 'One sentence on what was wrong, redacted.';
comment on column ops.quarantined_records.sample is 'First bytes of the line, redacted.';
comment on column ops.quarantined_records.quarantined_at is 'When it was put here.';

create table if not exists ops.touched_days (
    project_id text not null,
    activity_date date not null,
    touched_at timestamptz not null default clock_timestamp(),
    constraint touched_days_pkey primary key (activity_date, project_id)
);
comment on table ops.touched_days is 'Days whose raw rows changed since they were last aggregated, one row per project and UTC day.';
comment on column ops.touched_days.project_id is 'Project whose rows changed.';
comment on column ops.touched_days.activity_date is 'UTC day of the changed rows.';
comment on column ops.touched_days.touched_at is 'When they last changed.';

create table if not exists ops.aggregation_days (
    activity_date date not null,
    planned_at timestamptz not null default now(),
    constraint aggregation_days_pkey primary key (activity_date)
);
comment on table ops.aggregation_days is 'Days that the running aggregation rebuilds, one row per UTC day; empty between runs.';
comment on column ops.aggregation_days.activity_date is 'UTC day to rebuild.';
comment on column ops.aggregation_days.planned_at is 'When the day was put on the list.';

create table if not exists ops.refresh_log (
    refresh_id bigint generated always as identity,
    started_at timestamptz not null,
    finished_at timestamptz,
    first_date date,
    last_date date,
    day_count integer not null default 0,
    status text not null default 'running',
    detail text,
    constraint refresh_log_pkey primary key (refresh_id),
    constraint refresh_log_status_is_known check (status in ('running', 'succeeded', 'failed'))
);
comment on table ops.refresh_log is 'Aggregation runs, one row per run.';
comment on column ops.refresh_log.refresh_id is 'Number of the run.';
comment on column ops.refresh_log.started_at is 'When the run began.';
comment on column ops.refresh_log.finished_at is 'When it ended; NULL while it runs.';
comment on column ops.refresh_log.first_date is 'First UTC day it rebuilt.';
comment on column ops.refresh_log.last_date is 'Last UTC day it rebuilt.';
comment on column ops.refresh_log.day_count is 'How many days it rebuilt.';
comment on column ops.refresh_log.status is 'running, succeeded or failed.';
comment on column ops.refresh_log.detail is 'What failed, redacted.';

grant select, insert, update, delete on ops.ingest_files, ops.quarantined_records, ops.touched_days to tracemill_ingest;
grant select, insert, update, delete on ops.touched_days, ops.aggregation_days, ops.refresh_log to tracemill_dbt;
grant select on ops.ingest_files, ops.quarantined_records to tracemill_dbt;

reset role;
