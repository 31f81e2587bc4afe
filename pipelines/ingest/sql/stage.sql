-- One batch of records, as COPY brings them; emptied at every commit.
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
    execution_time_ms bigint not null,
    reported_usage jsonb,
    output_characteristics jsonb not null
) on commit delete rows;

create temporary table if not exists staged_requests (
    project_id text not null,
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
    table_name text not null,
    outcome text not null,
    row_count bigint not null
) on commit delete rows;
