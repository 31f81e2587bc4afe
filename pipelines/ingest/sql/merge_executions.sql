-- One row per execution, its totals computed from the responses and tool uses that it owns.

create temporary table execution_totals on commit drop as
with
touched as (
    select distinct
        project_id,
        execution_id
    from touched_executions
),

by_model as (
    select
        t.project_id,
        t.execution_id,
        m.*
    from touched as t
    -- Lateral, so that the index is used however long the history is.
    cross join lateral (
        select
            r.model,
            sum(r.input_tokens) as input_tokens,
            sum(r.cache_creation_5m_tokens) as cache_creation_5m_tokens,
            sum(r.cache_creation_1h_tokens) as cache_creation_1h_tokens,
            sum(r.cache_read_tokens) as cache_read_tokens,
            sum(r.output_tokens) as output_tokens,
            sum(r.cost_usd) as cost_usd,
            sum(r.cache_read_cost_usd) as cache_read_cost_usd,
            sum(r.cache_savings_usd) as cache_savings_usd,
            count(*) filter (where r.kind = 'response') as request_count,
            count(*) filter (where r.kind <> 'synthetic') as priceable_count,
            count(*) filter (where r.kind <> 'synthetic' and r.cost_status = 'unpriced') as unpriced_count,
            count(*) filter (where r.cost_status = 'reported') as reported_count,
            bool_and(r.is_output_reliable) as is_output_reliable
        from raw.model_requests as r
        where r.project_id = t.project_id and r.execution_id = t.execution_id
        group by r.model
    ) as m
),

of_requests as (
    select
        project_id,
        execution_id,
        sum(input_tokens + cache_creation_5m_tokens + cache_creation_1h_tokens + cache_read_tokens) as input_tokens,
        sum(cache_creation_5m_tokens) as cache_creation_5m_tokens,
        sum(cache_creation_1h_tokens) as cache_creation_1h_tokens,
        sum(cache_read_tokens) as cached_tokens,
        sum(output_tokens) as output_tokens,
        sum(cost_usd) as cost_usd,
        sum(cache_read_cost_usd) as cache_read_cost_usd,
        sum(cache_savings_usd) as cache_savings_usd,
        sum(request_count) as request_count,
        sum(priceable_count) as priceable_count,
        sum(unpriced_count) as unpriced_count,
        sum(reported_count) as reported_count,
        bool_and(is_output_reliable) as is_output_reliable,
        (array_agg(model order by output_tokens desc, model) filter (where priceable_count > 0))[1] as model_version
    from by_model
    group by project_id, execution_id
),

of_tool_calls as (
    select
        t.project_id,
        t.execution_id,
        c.tool_calls,
        c.tool_errors
    from touched as t
    cross join lateral (
        select
            count(*) as tool_calls,
            count(*) filter (where r.status in ('error', 'rejected')) as tool_errors
        from raw.tool_calls as r
        where r.project_id = t.project_id and r.execution_id = t.execution_id
    ) as c
)

select
    t.project_id,
    t.execution_id,
    coalesce(r.input_tokens, 0)::bigint as input_tokens,
    coalesce(r.cache_creation_5m_tokens, 0)::bigint as cache_creation_5m_tokens,
    coalesce(r.cache_creation_1h_tokens, 0)::bigint as cache_creation_1h_tokens,
    coalesce(r.cached_tokens, 0)::bigint as cached_tokens,
    coalesce(r.output_tokens, 0)::bigint as output_tokens,
    coalesce(r.cost_usd, 0) as cost_usd,
    coalesce(r.cache_read_cost_usd, 0) as cache_read_cost_usd,
    coalesce(r.cache_savings_usd, 0) as cache_savings_usd,
    coalesce(r.request_count, 0)::integer as request_count,
    coalesce(r.priceable_count, 0) as priceable_count,
    coalesce(r.unpriced_count, 0) as unpriced_count,
    coalesce(r.reported_count, 0) as reported_count,
    coalesce(r.is_output_reliable, true) as is_output_reliable,
    r.model_version,
    coalesce(c.tool_calls, 0)::integer as tool_calls,
    coalesce(c.tool_errors, 0)::integer as tool_errors
from touched as t
left join of_requests as r on t.project_id = r.project_id and t.execution_id = r.execution_id
left join of_tool_calls as c on t.project_id = c.project_id and t.execution_id = c.execution_id;

create temporary table execution_candidates on commit drop as
select
    x.project_id,
    x.target_id as id,
    false as is_stored,
    s.timestamp,
    s.batch_id,
    s.execution_sequence,
    s.kind,
    s.command_raw,
    s.command_base,
    s.command_args,
    s.command_features,
    s.pattern_signature,
    s.workspace_context,
    s.session_context,
    s.session_id,
    s.device_id,
    array[s.source] as sources,
    s.source_file_key,
    s.source_line,
    s.ended_at,
    s.status,
    s.status_reason,
    s.error_message,
    s.execution_time_ms,
    s.reported_usage,
    s.output_characteristics,
    null::raw.command_executions as stored,
    s.ctid as place
from staged_executions as s
inner join execution_targets as x on s.project_id = x.project_id and s.id = x.id
union all
select
    e.project_id,
    e.id,
    true as is_stored,
    e.timestamp,
    e.batch_id,
    e.execution_sequence,
    e.kind,
    e.command_raw,
    e.command_base,
    e.command_args,
    e.command_features,
    e.pattern_signature,
    e.workspace_context,
    e.session_context,
    e.session_id,
    e.device_id,
    e.sources,
    e.source_file_key,
    e.source_line,
    e.ended_at,
    e.status,
    e.status_reason,
    e.error_message,
    e.execution_time_ms,
    e.reported_usage,
    e.output_characteristics,
    known.stored,
    null::tid as place
from execution_totals as t
cross join lateral (
    select e as stored
    from raw.command_executions as e
    where e.project_id = t.project_id and e.id = t.execution_id
    limit 1
) as known
cross join lateral (select (known.stored).*) as e;

-- Work whose command is in no log gets an execution of its own, one per session.
insert into execution_candidates
select
    w.project_id,
    w.execution_id,
    false,
    min(w.timestamp),
    null,
    null,
    'orphan',
    '',
    null,
    null,
    null,
    'v1:orphan',
    '{}',
    '{}',
    min(w.session_id),
    coalesce(nullif(current_setting('app.device_id', true), ''), 'unknown'),
    array[min(w.source)],
    min(w.source_file_key),
    0,
    max(w.timestamp),
    'completed',
    'command_not_in_logs',
    null,
    0,
    null,
    '{}',
    null,
    null
from (
    select
        project_id,
        execution_id,
        timestamp,
        session_id,
        source,
        source_file_key
    from merged_requests
    union all
    select
        project_id,
        execution_id,
        timestamp,
        session_id,
        source,
        source_file_key
    from merged_tool_calls
) as w
where
    w.execution_id < '00000001-0000-0000-0000-000000000000'
    and not exists(
        select from execution_candidates as c
        where c.project_id = w.project_id and c.id = w.execution_id
    )
group by w.project_id, w.execution_id;

analyze execution_totals (project_id, execution_id), execution_candidates (project_id, id);

-- A few rows or many, the joins below are between whole sets.
set local enable_nestloop = off;

create temporary table merged_executions on commit drop as
with
conversations as (
    select distinct on (project_id, id) *
    from execution_candidates
    order by
        project_id asc, id asc, kind <> 'run' desc, ended_at desc, is_stored desc, place asc
),

-- A run's own verdict beats what is read from the transcript.
outcomes as (
    select distinct on (project_id, id) *
    from execution_candidates
    order by
        project_id asc, id asc, reported_usage is not null desc, kind <> 'run' desc, ended_at desc,
        status <> 'pending' desc, is_stored desc, place asc
),

identities as (
    select
        project_id,
        id,
        coalesce(min(timestamp) filter (where is_stored), min(timestamp)) as timestamp,
        bool_or(is_stored) as is_known,
        min(session_id) as session_id,
        (array_agg(reported_usage order by is_stored) filter (where reported_usage is not null))[1] as reported_usage
    from execution_candidates
    group by project_id, id
),

seen_in as (
    select
        c.project_id,
        c.id,
        array_agg(distinct s.source order by s.source) as sources
    from execution_candidates as c
    cross join lateral unnest(c.sources) as s (source)
    group by c.project_id, c.id
)

select
    i.project_id,
    i.id,
    i.timestamp,
    i.is_known,
    c.batch_id,
    c.execution_sequence,
    c.kind,
    c.command_raw,
    c.command_base,
    c.command_args,
    c.command_features,
    c.pattern_signature,
    c.workspace_context,
    c.session_context,
    i.session_id,
    c.device_id,
    v.sources,
    c.source_file_key,
    c.source_line,
    greatest(c.ended_at, i.timestamp) as ended_at,
    o.status,
    o.status_reason,
    o.error_message,
    c.execution_time_ms,
    t.input_tokens + t.output_tokens as total_tokens,
    t.input_tokens,
    t.output_tokens,
    t.cached_tokens,
    t.input_tokens + t.output_tokens - t.cached_tokens as fresh_tokens,
    t.cache_creation_5m_tokens + t.cache_creation_1h_tokens as cache_creation_tokens,
    t.cache_creation_5m_tokens,
    t.cache_creation_1h_tokens,
    100.0 * t.cached_tokens / nullif(t.input_tokens, 0) as cache_hit_rate,
    t.request_count,
    t.tool_calls,
    t.tool_errors,
    case when f.is_unpriced then null else t.cost_usd end as cost_usd,
    case when f.is_unpriced then null else t.cost_usd - t.cache_read_cost_usd end as fresh_cost_usd,
    case when f.is_unpriced then null else t.cache_savings_usd end as cache_savings_usd,
    case
        when f.is_unpriced then 'unpriced'
        when f.is_cut_run or t.unpriced_count > 0 then 'partial'
        when t.reported_count > 0 then 'reported'
        else 'computed'
    end as cost_status,
    i.reported_usage,
    t.is_output_reliable and not f.is_cut_run as is_output_reliable,
    c.output_characteristics,
    t.model_version
from identities as i
inner join conversations as c on i.project_id = c.project_id and i.id = c.id
inner join outcomes as o on i.project_id = o.project_id and i.id = o.id
inner join seen_in as v on i.project_id = v.project_id and i.id = v.id
inner join execution_totals as t on i.project_id = t.project_id and i.id = t.execution_id
cross join lateral (
    select
        t.priceable_count > 0 and t.unpriced_count = t.priceable_count as is_unpriced,
        -- Killed before its own sum was written: what is known is a lower bound.
        c.kind = 'run' and i.reported_usage is null as is_cut_run
) as f;

create temporary table changed_executions on commit drop as
select
    m.project_id,
    m.id,
    m.timestamp
from merged_executions as m
inner join (
    select (stored).*
    from execution_candidates
    where is_stored
) as e on m.project_id = e.project_id and m.id = e.id
where
    m.is_known
    and (
        m.batch_id, m.execution_sequence, m.kind, m.command_raw, m.pattern_signature, m.workspace_context,
        m.session_context, m.session_id, m.sources, m.source_file_key, m.source_line, m.ended_at, m.status,
        m.status_reason, m.error_message, m.execution_time_ms, m.input_tokens, m.output_tokens, m.cached_tokens,
        m.cache_creation_5m_tokens, m.cache_creation_1h_tokens, m.request_count, m.tool_calls, m.tool_errors,
        m.cost_usd, m.fresh_cost_usd, m.cache_savings_usd, m.cost_status, m.reported_usage, m.is_output_reliable,
        m.output_characteristics, m.model_version
    ) is distinct from (
        e.batch_id, e.execution_sequence, e.kind, e.command_raw, e.pattern_signature, e.workspace_context,
        e.session_context, e.session_id, e.sources, e.source_file_key, e.source_line, e.ended_at, e.status,
        e.status_reason, e.error_message, e.execution_time_ms, e.input_tokens, e.output_tokens, e.cached_tokens,
        e.cache_creation_5m_tokens, e.cache_creation_1h_tokens, e.request_count, e.tool_calls, e.tool_errors,
        e.cost_usd, e.fresh_cost_usd, e.cache_savings_usd, e.cost_status, e.reported_usage, e.is_output_reliable,
        e.output_characteristics, e.model_version
    );

create temporary table spent_orphans on commit drop as
select
    m.project_id,
    m.id,
    m.timestamp
from merged_executions as m
inner join execution_totals as t on m.project_id = t.project_id and m.id = t.execution_id
where m.is_known and m.kind = 'orphan' and t.priceable_count = 0 and t.tool_calls = 0;

set local enable_nestloop = on;

update raw.command_executions as e
set
    batch_id = m.batch_id,
    execution_sequence = m.execution_sequence,
    kind = m.kind,
    command_raw = m.command_raw,
    command_base = m.command_base,
    command_args = m.command_args,
    command_features = m.command_features,
    pattern_signature = m.pattern_signature,
    workspace_context = m.workspace_context,
    session_context = m.session_context,
    session_id = m.session_id,
    device_id = m.device_id,
    sources = m.sources,
    source_file_key = m.source_file_key,
    source_line = m.source_line,
    ended_at = m.ended_at,
    status = m.status,
    status_reason = m.status_reason,
    error_message = m.error_message,
    execution_time_ms = m.execution_time_ms,
    total_tokens = m.total_tokens,
    input_tokens = m.input_tokens,
    output_tokens = m.output_tokens,
    cached_tokens = m.cached_tokens,
    fresh_tokens = m.fresh_tokens,
    cache_creation_tokens = m.cache_creation_tokens,
    cache_creation_5m_tokens = m.cache_creation_5m_tokens,
    cache_creation_1h_tokens = m.cache_creation_1h_tokens,
    cache_hit_rate = m.cache_hit_rate,
    request_count = m.request_count,
    tool_calls = m.tool_calls,
    tool_errors = m.tool_errors,
    cost_usd = m.cost_usd,
    fresh_cost_usd = m.fresh_cost_usd,
    cache_savings_usd = m.cache_savings_usd,
    cost_status = m.cost_status,
    reported_usage = m.reported_usage,
    is_output_reliable = m.is_output_reliable,
    output_characteristics = m.output_characteristics,
    model_version = m.model_version,
    updated_at = now()
from merged_executions as m
inner join changed_executions as c on m.project_id = c.project_id and m.id = c.id
where e.project_id = m.project_id and e.id = m.id and e.timestamp = m.timestamp;

insert into raw.command_executions (
    project_id, id, timestamp, batch_id, execution_sequence, kind, command_raw, command_base, command_args,
    command_features, pattern_signature, workspace_context, session_context, session_id, device_id, sources,
    source_file_key, source_line, ended_at, status, status_reason, error_message, execution_time_ms, total_tokens,
    input_tokens, output_tokens, cached_tokens, fresh_tokens, cache_creation_tokens, cache_creation_5m_tokens,
    cache_creation_1h_tokens, cache_hit_rate, request_count, tool_calls, tool_errors, cost_usd, fresh_cost_usd,
    cache_savings_usd, cost_status, reported_usage, is_output_reliable, output_characteristics, model_version
)
select
    m.project_id,
    m.id,
    m.timestamp,
    m.batch_id,
    m.execution_sequence,
    m.kind,
    m.command_raw,
    m.command_base,
    m.command_args,
    m.command_features,
    m.pattern_signature,
    m.workspace_context,
    m.session_context,
    m.session_id,
    m.device_id,
    m.sources,
    m.source_file_key,
    m.source_line,
    m.ended_at,
    m.status,
    m.status_reason,
    m.error_message,
    m.execution_time_ms,
    m.total_tokens,
    m.input_tokens,
    m.output_tokens,
    m.cached_tokens,
    m.fresh_tokens,
    m.cache_creation_tokens,
    m.cache_creation_5m_tokens,
    m.cache_creation_1h_tokens,
    m.cache_hit_rate,
    m.request_count,
    m.tool_calls,
    m.tool_errors,
    m.cost_usd,
    m.fresh_cost_usd,
    m.cache_savings_usd,
    m.cost_status,
    m.reported_usage,
    m.is_output_reliable,
    m.output_characteristics,
    m.model_version
from merged_executions as m
where not m.is_known and (m.kind <> 'orphan' or m.request_count + m.tool_calls > 0);

-- An orphan whose work has found its command is no execution any more.
delete from raw.command_executions as e
using spent_orphans as s
where e.project_id = s.project_id and e.id = s.id and e.timestamp = s.timestamp;

insert into changed_days (project_id, activity_date)
select distinct
    project_id,
    (timestamp at time zone 'UTC')::date
from merged_executions
where not is_known
union
select
    project_id,
    (timestamp at time zone 'UTC')::date
from changed_executions
union
select
    project_id,
    (timestamp at time zone 'UTC')::date
from spent_orphans;

insert into ops.touched_days (project_id, activity_date)
select distinct
    project_id,
    activity_date
from changed_days
order by activity_date, project_id
on conflict (activity_date, project_id) do update set touched_at = clock_timestamp();

insert into merge_counts (table_name, outcome, row_count)
select
    'command_executions',
    'inserted',
    count(*)
from merged_executions
where not is_known and (kind <> 'orphan' or request_count + tool_calls > 0)
union all
select
    'command_executions',
    'updated',
    count(*)
from changed_executions
union all
select
    'command_executions',
    'unchanged',
    (
        select count(*)
        from merged_executions as m
        inner join (select distinct project_id, target_id from execution_targets) as x
            on m.project_id = x.project_id and m.id = x.target_id
        where m.is_known
    ) - (
        select count(*)
        from changed_executions as c
        inner join (select distinct project_id, target_id from execution_targets) as x
            on c.project_id = x.project_id and c.id = x.target_id
    );
