-- Monthly RANGE partitions live in schema partitions. The timestamp is part of each primary key only because
-- PostgreSQL asks for it: identity is (project_id, key), which ingest keeps under a lock per project.
set local lock_timeout = '5s';
set local role tracemill_owner;

create table if not exists raw.command_executions (
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
    workspace_context jsonb not null default '{}',
    session_context jsonb not null default '{}',
    session_id text,
    device_id text not null,
    sources text[] not null,
    source_file_key text not null,
    source_line bigint not null,
    ended_at timestamptz not null,
    status text not null default 'pending',
    status_reason text not null,
    error_message text,
    execution_time_ms bigint not null default 0,
    total_tokens bigint not null default 0,
    input_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    cached_tokens bigint not null default 0,
    fresh_tokens bigint not null default 0,
    cache_creation_tokens bigint not null default 0,
    cache_creation_5m_tokens bigint not null default 0,
    cache_creation_1h_tokens bigint not null default 0,
    cache_hit_rate double precision,
    request_count integer not null default 0,
    tool_calls integer not null default 0,
    tool_errors integer not null default 0,
    cost_usd numeric,
    fresh_cost_usd numeric,
    cache_savings_usd numeric,
    cost_status text not null default 'computed',
    reported_usage jsonb,
    is_output_reliable boolean not null default true,
    output_characteristics jsonb not null default '{}',
    model_version text,
    ingested_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint command_executions_pkey primary key (project_id, id, timestamp),
    constraint status_check check (status in ('pending', 'completed', 'failed', 'timeout', 'cancelled')),
    constraint kind_check check (kind in ('prompt', 'slash', 'local', 'bash', 'run', 'orphan')),
    constraint cost_status_check check (cost_status in ('reported', 'computed', 'partial', 'unpriced')),
    constraint positive_tokens check (
        input_tokens >= 0 and output_tokens >= 0 and cached_tokens >= 0
        and cache_creation_5m_tokens >= 0 and cache_creation_1h_tokens >= 0
    ),
    constraint tokens_add_up check (
        total_tokens = input_tokens + output_tokens
        and fresh_tokens = total_tokens - cached_tokens
        and cache_creation_tokens = cache_creation_5m_tokens + cache_creation_1h_tokens
        and cached_tokens + cache_creation_tokens <= input_tokens
    ),
    constraint cache_rate_range check (cache_hit_rate >= 0 and cache_hit_rate <= 100),
    constraint durations_are_not_negative check (execution_time_ms >= 0 and ended_at >= timestamp),
    constraint counts_are_not_negative check (request_count >= 0 and tool_calls >= 0 and tool_errors >= 0)
) partition by range (timestamp);

create index if not exists command_executions_by_time on raw.command_executions (project_id, timestamp desc);
create index if not exists command_executions_by_base on raw.command_executions (project_id, command_base, timestamp);
create index if not exists command_executions_by_session on raw.command_executions (project_id, session_id);
create index if not exists command_executions_by_batch on raw.command_executions (batch_id) where batch_id is not null;
create index if not exists command_executions_unfinished on raw.command_executions (status, timestamp)
where status <> 'completed';
create index if not exists command_executions_args on raw.command_executions using gin (command_args jsonb_path_ops);
create index if not exists command_executions_features on raw.command_executions using gin (command_features jsonb_path_ops);

comment on table raw.command_executions is 'One row per user command or prompt, with all work until the next one.';
comment on column raw.command_executions.project_id is 'Tenant.';
comment on column raw.command_executions.id is 'Identity in whatever source the execution is seen: promptId where present, else the uuid of its opening line, else derived from it.';
comment on column raw.command_executions.timestamp is 'When the command was given, UTC; fixed at first sight.';
comment on column raw.command_executions.batch_id is 'Groups related executions: the session.';
comment on column raw.command_executions.execution_sequence is 'Order within the batch, from 1.';
comment on column raw.command_executions.kind is 'prompt, slash, local (answered by the client), bash, run (headless, prompt text unknown) or orphan (work whose command is not in the logs).';
comment on column raw.command_executions.command_raw is 'Command as typed, redacted; empty where the source does not hold it.';
comment on column raw.command_executions.command_base is 'Slash and first word of the command, !bash for bash mode; NULL for free text.';
comment on column raw.command_executions.command_args is 'Parsed arguments: targets, flags, scope, test_type, priority, components.';
comment on column raw.command_executions.command_features is 'The 17 semantic features of the command.';
comment on column raw.command_executions.pattern_signature is 'Versioned template of the command without its values.';
comment on column raw.command_executions.workspace_context is 'Working directory, branch.';
comment on column raw.command_executions.session_context is 'Client version, entry point, permission mode.';
comment on column raw.command_executions.session_id is 'Session as named by the client.';
comment on column raw.command_executions.device_id is 'Machine that ingested the log.';
comment on column raw.command_executions.sources is 'Formats in which the execution was seen.';
comment on column raw.command_executions.source_file_key is 'File of first sight, in ops.ingest_files.';
comment on column raw.command_executions.source_line is 'Line of first sight, from 1.';
comment on column raw.command_executions.ended_at is 'Last evidence of work for the command.';
comment on column raw.command_executions.status is 'pending, completed, failed, timeout or cancelled.';
comment on column raw.command_executions.status_reason is 'What the status rests on.';
comment on column raw.command_executions.error_message is 'Error text, redacted.';
comment on column raw.command_executions.execution_time_ms is 'Wall time in milliseconds, waiting for permission included.';
comment on column raw.command_executions.total_tokens is 'Input, cache writes, cache reads and output.';
comment on column raw.command_executions.input_tokens is 'All prompt tokens: uncached input, cache writes and cache reads.';
comment on column raw.command_executions.output_tokens is 'Tokens generated.';
comment on column raw.command_executions.cached_tokens is 'Prompt tokens read from the cache.';
comment on column raw.command_executions.fresh_tokens is 'Total less cached tokens.';
comment on column raw.command_executions.cache_creation_tokens is 'Prompt tokens written to the cache.';
comment on column raw.command_executions.cache_creation_5m_tokens is 'Of these, written for five minutes.';
comment on column raw.command_executions.cache_creation_1h_tokens is 'Of these, written for one hour.';
comment on column raw.command_executions.cache_hit_rate is 'Cached over all prompt tokens, 0 to 100; NULL without a prompt.';
comment on column raw.command_executions.request_count is 'API responses owned by the execution.';
comment on column raw.command_executions.tool_calls is 'Distinct tool uses.';
comment on column raw.command_executions.tool_errors is 'Tool uses that ended in an error or were rejected.';
comment on column raw.command_executions.cost_usd is 'USD; NULL where nothing is priced, a lower bound where cost_status is partial.';
comment on column raw.command_executions.fresh_cost_usd is 'Cost in USD without cache reads.';
comment on column raw.command_executions.cache_savings_usd is 'USD saved by the cache against paying full input price, write premium subtracted; can be negative.';
comment on column raw.command_executions.cost_status is 'reported by the client, computed from list prices, partial or unpriced.';
comment on column raw.command_executions.reported_usage is 'Usage per model as the client summed it at the end of a headless run.';
comment on column raw.command_executions.is_output_reliable is 'False where output tokens are a placeholder of the stream''s start: a lower bound.';
comment on column raw.command_executions.output_characteristics is 'Shape of the answer: characters, blocks, stop reason.';
comment on column raw.command_executions.model_version is 'Model that produced most output tokens.';
comment on column raw.command_executions.ingested_at is 'When the row was first written.';
comment on column raw.command_executions.updated_at is 'When it last changed.';

create table if not exists ops.execution_aliases (
    project_id text not null,
    alias_id uuid not null,
    execution_id uuid not null,
    constraint execution_aliases_pkey primary key (project_id, alias_id)
);
comment on table ops.execution_aliases is 'Executions seen under another id first (a headless run and its transcript, a copied session), one row per later id.';
comment on column ops.execution_aliases.project_id is 'Tenant.';
comment on column ops.execution_aliases.alias_id is 'Id under which the execution was seen again.';
comment on column ops.execution_aliases.execution_id is 'Id in raw.command_executions.';
grant select, insert on ops.execution_aliases to tracemill_ingest;
grant select on ops.execution_aliases to tracemill_dbt;

create table if not exists raw.model_requests (
    project_id text not null,
    request_key text collate "C" not null,
    timestamp timestamptz not null,
    kind text not null default 'response',
    message_id text not null,
    request_id text,
    session_id text,
    execution_id uuid not null,
    is_owner_inferred boolean not null default false,
    prompt_id uuid,
    agent_id text,
    model text not null,
    service_tier text,
    speed text,
    stop_reason text,
    input_tokens bigint not null default 0,
    cache_creation_tokens bigint not null default 0,
    cache_creation_5m_tokens bigint not null default 0,
    cache_creation_1h_tokens bigint not null default 0,
    cache_read_tokens bigint not null default 0,
    output_tokens bigint not null default 0,
    web_search_requests bigint not null default 0,
    input_cost_usd numeric,
    cache_write_cost_usd numeric,
    cache_read_cost_usd numeric,
    output_cost_usd numeric,
    tool_cost_usd numeric,
    cost_usd numeric,
    cache_savings_usd numeric,
    reported_cost_usd numeric,
    cost_status text not null,
    price_version text,
    is_output_reliable boolean not null default true,
    line_count integer not null default 1,
    source text not null,
    source_file_key text not null,
    source_offset bigint not null,
    ingested_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint model_requests_pkey primary key (project_id, request_key, timestamp),
    constraint model_requests_kind_check check (kind in ('response', 'synthetic', 'remainder')),
    constraint model_requests_cost_status_check check (cost_status in ('reported', 'computed', 'partial', 'unpriced')),
    constraint model_requests_tokens_are_not_negative check (
        input_tokens >= 0 and cache_creation_5m_tokens >= 0 and cache_creation_1h_tokens >= 0
        and cache_read_tokens >= 0 and output_tokens >= 0 and web_search_requests >= 0
    ),
    constraint model_requests_cache_writes_add_up
    check (cache_creation_tokens = cache_creation_5m_tokens + cache_creation_1h_tokens)
) partition by range (timestamp);

create index if not exists model_requests_by_time on raw.model_requests using brin (timestamp);
create index if not exists model_requests_by_execution on raw.model_requests (project_id, execution_id);
create index if not exists model_requests_by_inference on raw.model_requests (project_id, session_id)
where is_owner_inferred;

comment on table raw.model_requests is 'One row per API response, however many log lines and files repeat it.';
comment on column raw.model_requests.project_id is 'Tenant.';
comment on column raw.model_requests.request_key is 'message_id and request_id, joined by a colon.';
comment on column raw.model_requests.timestamp is 'When the first line of the response was written, UTC; fixed at first sight.';
comment on column raw.model_requests.kind is 'response, synthetic (made by the client, no tokens) or remainder (what a run''s own total holds beyond its responses).';
comment on column raw.model_requests.message_id is 'message.id of the response.';
comment on column raw.model_requests.request_id is 'Id of the API request; NULL for back ends that give none.';
comment on column raw.model_requests.session_id is 'Session as named by the client.';
comment on column raw.model_requests.execution_id is 'Execution that owns the response.';
comment on column raw.model_requests.is_owner_inferred is 'True where the log does not name the execution and ingest found it: by prompt, by the tool use that started the subagent, else by time.';
comment on column raw.model_requests.prompt_id is 'promptId of the prompt that caused it, where the log has one.';
comment on column raw.model_requests.agent_id is 'Subagent that made the request; NULL in the main conversation.';
comment on column raw.model_requests.model is 'Model that answered.';
comment on column raw.model_requests.service_tier is 'Service tier of the request.';
comment on column raw.model_requests.speed is 'fast where the fast mode, with its own price, was used.';
comment on column raw.model_requests.stop_reason is 'Why generation stopped, where the log says.';
comment on column raw.model_requests.input_tokens is 'Uncached prompt tokens.';
comment on column raw.model_requests.cache_creation_tokens is 'Prompt tokens written to the cache.';
comment on column raw.model_requests.cache_creation_5m_tokens is 'Of these, written for five minutes.';
comment on column raw.model_requests.cache_creation_1h_tokens is 'Of these, written for one hour.';
comment on column raw.model_requests.cache_read_tokens is 'Prompt tokens read from the cache.';
comment on column raw.model_requests.output_tokens is 'Tokens generated; the largest value that any line of the response holds.';
comment on column raw.model_requests.web_search_requests is 'Server-side web searches.';
comment on column raw.model_requests.input_cost_usd is 'USD for uncached input.';
comment on column raw.model_requests.cache_write_cost_usd is 'USD for cache writes of both lives.';
comment on column raw.model_requests.cache_read_cost_usd is 'USD for cache reads.';
comment on column raw.model_requests.output_cost_usd is 'USD for output.';
comment on column raw.model_requests.tool_cost_usd is 'USD for server-side web searches.';
comment on column raw.model_requests.cost_usd is 'USD in all; NULL where the price is unknown.';
comment on column raw.model_requests.cache_savings_usd is 'USD saved by cache reads less the premium paid for cache writes; can be negative.';
comment on column raw.model_requests.reported_cost_usd is 'USD as the client gave it for this response.';
comment on column raw.model_requests.cost_status is 'reported, computed, partial or unpriced.';
comment on column raw.model_requests.price_version is 'Price list used.';
comment on column raw.model_requests.is_output_reliable is 'False where output tokens are a placeholder of the stream''s start.';
comment on column raw.model_requests.line_count is 'Log lines that repeated this response in the file that gave the row.';
comment on column raw.model_requests.source is 'Format that gave the row.';
comment on column raw.model_requests.source_file_key is 'File that gave the row, in ops.ingest_files.';
comment on column raw.model_requests.source_offset is 'Byte offset of the line that gave the row.';
comment on column raw.model_requests.ingested_at is 'When the row was first written.';
comment on column raw.model_requests.updated_at is 'When it last changed.';

create table if not exists raw.tool_calls (
    project_id text not null,
    tool_use_id text not null,
    timestamp timestamptz not null,
    session_id text,
    execution_id uuid not null,
    is_owner_inferred boolean not null default false,
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
    source_offset bigint not null,
    ingested_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint tool_calls_pkey primary key (project_id, tool_use_id, timestamp),
    constraint tool_calls_status_check check (status in ('ok', 'error', 'rejected', 'unanswered')),
    constraint tool_calls_duration_is_not_negative check (duration_ms >= 0)
) partition by range (timestamp);

create index if not exists tool_calls_by_time on raw.tool_calls using brin (timestamp);
create index if not exists tool_calls_by_execution on raw.tool_calls (project_id, execution_id);
create index if not exists tool_calls_by_inference on raw.tool_calls (project_id, session_id)
where is_owner_inferred;
create index if not exists tool_calls_by_agent on raw.tool_calls (project_id, spawned_agent_id)
where spawned_agent_id is not null;

comment on table raw.tool_calls is 'One row per tool use.';
comment on column raw.tool_calls.project_id is 'Tenant.';
comment on column raw.tool_calls.tool_use_id is 'Id that the model gave the tool use.';
comment on column raw.tool_calls.timestamp is 'When the model asked for the tool, UTC; fixed at first sight.';
comment on column raw.tool_calls.session_id is 'Session as named by the client.';
comment on column raw.tool_calls.execution_id is 'Execution that owns the tool use.';
comment on column raw.tool_calls.is_owner_inferred is 'True where the log does not name the execution and ingest found it: by prompt, by the tool use that started the subagent, else by time.';
comment on column raw.tool_calls.prompt_id is 'promptId of the prompt that caused it, where the log has one.';
comment on column raw.tool_calls.message_id is 'Response that asked for the tool.';
comment on column raw.tool_calls.agent_id is 'Subagent that used the tool; NULL in the main conversation.';
comment on column raw.tool_calls.spawned_agent_id is 'Subagent that the tool use started.';
comment on column raw.tool_calls.tool_name is 'Name of the tool.';
comment on column raw.tool_calls.duration_ms is 'Milliseconds from request to result; NULL without a result or without clocks.';
comment on column raw.tool_calls.status is 'ok, error, rejected (the person refused it) or unanswered.';
comment on column raw.tool_calls.error_message is 'Error text, redacted.';
comment on column raw.tool_calls.source is 'Format that gave the row.';
comment on column raw.tool_calls.source_file_key is 'File that gave the row, in ops.ingest_files.';
comment on column raw.tool_calls.source_offset is 'Byte offset of the line that gave the row.';
comment on column raw.tool_calls.ingested_at is 'When the row was first written.';
comment on column raw.tool_calls.updated_at is 'When it last changed.';

do $$
declare
    table_name text;
begin
    foreach table_name in array array['command_executions', 'model_requests', 'tool_calls'] loop
        execute format('create table if not exists partitions.%I partition of raw.%I default', table_name || '_default', table_name);
        execute format('alter table raw.%I enable row level security', table_name);
        execute format('alter table raw.%I force row level security', table_name);
        execute format('alter table partitions.%I enable row level security', table_name || '_default');
        execute format('drop policy if exists platform_all on raw.%I', table_name);
        execute format('drop policy if exists own_projects on raw.%I', table_name);
        execute format('create policy platform_all on raw.%I to tracemill_owner, tracemill_ingest, tracemill_dbt using (true) with check (true)', table_name);
        execute format(
            'create policy own_projects on raw.%I for select to service_role, authenticated, app_user, app_admin, app_readonly '
            || 'using (project_id = any((select app.current_projects())::text[]))', table_name
        );
        execute format('grant select on raw.%I to tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly', table_name);
        execute format('grant select, insert, update, delete on raw.%I to tracemill_ingest', table_name);
    end loop;
end
$$;

reset role;
