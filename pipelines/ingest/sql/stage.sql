-- One batch of records, as COPY brings them, and what the steps of its merge hand on; all emptied at every commit.
-- The tables live as long as the session: making and dropping them would cost more than filling them. Where no text is
-- long they store it plain, which spares a table for long values that would have to be emptied as well.
-- An execution_id names an execution of the same batch; work without one is given an owner by find_owners.sql.
create temporary table if not exists staged_executions (
    project_id text not null,
    id uuid not null,
    timestamp timestamptz not null,
    batch_id uuid,
    execution_sequence integer,
    kind text not null,
    command_raw text not null,
    command_base text,
    command_args jsonb,
    command_features jsonb,
    pattern_signature text not null,
    workspace_context jsonb not null,
    session_context jsonb not null,
    session_id text,
    device_id text not null,
    source text not null,
    source_file_key text not null,
    source_line bigint not null,
    ended_at timestamptz not null,
    status text not null,
    status_reason text not null,
    error_message text,
    execution_time_ms bigint,
    reported_usage jsonb,
    output_characteristics jsonb not null
) on commit delete rows;

create temporary table if not exists staged_requests (
    project_id text not null,
    request_key text collate "C" generated always as (message_id || ':' || coalesce(request_id, '')) stored,
    message_id text not null,
    request_id text,
    timestamp timestamptz not null,
    kind text not null,
    session_id text,
    execution_id uuid,
    orphan_id uuid not null,
    prompt_id uuid,
    agent_id text,
    model text not null,
    service_tier text,
    speed text,
    stop_reason text,
    input_tokens bigint not null,
    cache_creation_5m_tokens bigint not null,
    cache_creation_1h_tokens bigint not null,
    cache_read_tokens bigint not null,
    output_tokens bigint not null,
    web_search_requests bigint not null,
    reported_cost_usd numeric,
    is_output_reliable boolean not null,
    line_count integer not null,
    source text not null,
    source_file_key text not null,
    source_offset bigint not null
) on commit delete rows;

create temporary table if not exists staged_tool_calls (
    project_id text not null,
    tool_use_id text not null,
    timestamp timestamptz not null,
    session_id text,
    execution_id uuid,
    orphan_id uuid not null,
    prompt_id uuid,
    message_id text,
    agent_id text,
    spawned_agent_id text,
    tool_name text not null,
    duration_ms bigint,
    status text not null,
    error_message text,
    source text not null,
    source_file_key text not null,
    source_offset bigint not null
) on commit delete rows;

create temporary table if not exists staged_bad_lines (
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
    sample text not null
) on commit delete rows;

create temporary table if not exists merge_counts (
    table_name text storage plain not null,
    outcome text storage plain not null,
    row_count bigint not null
) on commit delete rows;

-- Rows of the warehouse that the batch sees again; place is that of the staged row.
create temporary table if not exists known_requests (
    like raw.model_requests,
    place tid not null
) on commit delete rows;

create temporary table if not exists known_tool_calls (
    like raw.tool_calls,
    place tid not null
) on commit delete rows;

create temporary table if not exists execution_targets (
    project_id text storage plain not null,
    id uuid not null,
    target_id uuid not null,
    is_new boolean not null
) on commit delete rows;

create temporary table if not exists owners (
    table_id oid not null,
    row_id tid not null,
    is_stored boolean not null,
    old_execution_id uuid not null,
    execution_id uuid not null
) on commit delete rows;

create temporary table if not exists touched_work (
    project_id text storage plain not null,
    execution_id uuid not null,
    activity_date date
) on commit delete rows;

create temporary table if not exists touched_executions (
    project_id text not null,
    execution_ids uuid[] not null
) on commit delete rows;

create temporary table if not exists known_executions (
    like raw.command_executions
) on commit delete rows;

create temporary table if not exists execution_totals (
    project_id text storage plain not null,
    execution_id uuid not null,
    input_tokens bigint not null,
    cache_creation_5m_tokens bigint not null,
    cache_creation_1h_tokens bigint not null,
    cached_tokens bigint not null,
    output_tokens bigint not null,
    cost_usd numeric not null,
    cache_read_cost_usd numeric not null,
    cache_savings_usd numeric not null,
    request_count integer not null,
    priceable_count bigint not null,
    unpriced_count bigint not null,
    reported_count bigint not null,
    is_output_reliable boolean not null,
    model_version text storage plain,
    tool_calls integer not null,
    tool_errors integer not null
) on commit delete rows;

-- A place has one owner: DISTINCT tells the planner, which else expects many and hashes all rows of the batch for them.
create or replace temporary view owned_requests as
select
    s.project_id,
    s.request_key,
    s.timestamp,
    s.kind,
    s.message_id,
    s.request_id,
    s.session_id,
    coalesce(t.target_id, o.execution_id, s.orphan_id) as execution_id,
    t.id is null as is_owner_inferred,
    s.prompt_id,
    s.agent_id,
    s.model,
    s.service_tier,
    s.speed,
    s.stop_reason,
    s.input_tokens,
    s.cache_creation_5m_tokens,
    s.cache_creation_1h_tokens,
    s.cache_read_tokens,
    s.output_tokens,
    s.web_search_requests,
    s.reported_cost_usd,
    s.is_output_reliable,
    s.line_count,
    s.source,
    s.source_file_key,
    s.source_offset,
    now() as ingested_at,
    s.ctid as place
from staged_requests as s
left join execution_targets as t on s.project_id = t.project_id and s.execution_id = t.id
left join (
    select distinct on (row_id)
        row_id,
        execution_id
    from owners
    where table_id = 'pg_temp.staged_requests'::regclass
) as o on s.ctid = o.row_id;

create or replace temporary view owned_tool_calls as
select
    s.project_id,
    s.tool_use_id,
    s.timestamp,
    s.session_id,
    coalesce(t.target_id, o.execution_id, s.orphan_id) as execution_id,
    t.id is null as is_owner_inferred,
    s.prompt_id,
    s.message_id,
    s.agent_id,
    s.spawned_agent_id,
    s.tool_name,
    s.duration_ms,
    s.status,
    s.error_message,
    s.source,
    s.source_file_key,
    s.source_offset,
    now() as ingested_at,
    s.ctid as place
from staged_tool_calls as s
left join execution_targets as t on s.project_id = t.project_id and s.execution_id = t.id
left join (
    select distinct on (row_id)
        row_id,
        execution_id
    from owners
    where table_id = 'pg_temp.staged_tool_calls'::regclass
) as o on s.ctid = o.row_id;

-- Staged rows that are not the only sight of what they describe, under the key that they share.
create temporary table if not exists contested_requests (
    project_id text storage plain not null,
    request_key text storage plain collate "C" not null,
    place tid not null
) on commit delete rows;

create temporary table if not exists contested_tool_calls (
    place tid not null
) on commit delete rows;

-- What became of them, as far as the warehouse does not hold it yet.
create temporary table if not exists settled_requests on commit delete rows as
select * from owned_requests
with no data;

create temporary table if not exists settled_tool_calls on commit delete rows as
select * from owned_tool_calls
with no data;

create temporary table if not exists settled_executions (
    like raw.command_executions
) on commit delete rows;
