-- One row per execution: what all its sights say of it, and the totals of the work that it owns.

-- Each of the parts has one row per execution, which the planner cannot know: it expects next to nothing of their joins.
set local enable_nestloop = off;

insert into settled_executions
with
seen as materialized (
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
        s.ctid as place
    from staged_executions as s
    inner join execution_targets as x on s.project_id = x.project_id and s.id = x.id
    union all
    select
        project_id,
        id,
        true as is_stored,
        timestamp,
        batch_id,
        execution_sequence,
        kind,
        command_raw,
        command_base,
        command_args,
        command_features,
        pattern_signature,
        workspace_context,
        session_context,
        session_id,
        device_id,
        sources,
        source_file_key,
        source_line,
        ended_at,
        status,
        status_reason,
        error_message,
        execution_time_ms,
        reported_usage,
        output_characteristics,
        null::tid as place
    from known_executions
),

-- What a file said of an execution before it was read again counts no more, unless now it says less.
outdated as materialized (
    select
        k.project_id,
        k.id
    from seen as k
    inner join seen as s
        on
            k.project_id = s.project_id
            and k.id = s.id
            and k.source_file_key = s.source_file_key
            and k.source_line = s.source_line
    where k.is_stored and not s.is_stored and k.ended_at <= greatest(s.ended_at, k.timestamp)
),

-- Work whose command is in no log gets an execution of its own, one per session.
execution_candidates as materialized (
    select
        *,
        is_stored and (project_id, id) in (select o.project_id, o.id from outdated as o) as is_outdated
    from seen
    union all
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
        null,
        null,
        '{}',
        null,
        false
    from (
        select
            t.project_id,
            t.execution_id
        from execution_totals as t
        where
            t.execution_id < '00000001-0000-0000-0000-000000000000'
            and not exists(
                select from seen as c
                where c.project_id = t.project_id and c.id = t.execution_id
            )
    ) as orphan
    cross join lateral (
        select
            r.project_id,
            r.execution_id,
            r.timestamp,
            r.session_id,
            r.source,
            r.source_file_key
        from raw.model_requests as r
        where r.execution_id = orphan.execution_id
        union all
        select
            r.project_id,
            r.execution_id,
            r.timestamp,
            r.session_id,
            r.source,
            r.source_file_key
        from raw.tool_calls as r
        where r.execution_id = orphan.execution_id
        offset 0
    ) as w
    where w.project_id = orphan.project_id
    group by w.project_id, w.execution_id
),

-- A result saved alone knows less of its run than the stream does.
conversations as materialized (
    select distinct on (project_id, id) *
    from execution_candidates
    order by
        project_id asc, id asc, kind <> 'run' desc, (kind = 'run' and workspace_context = '{}') asc, is_outdated asc,
        ended_at desc, status <> 'pending' desc, session_id asc, is_stored desc, place asc
),

-- Forks and resumed sessions tell the same command in settings of their own: the session that names the row counts.
settings as materialized (
    select distinct on (project_id, id)
        project_id,
        id,
        batch_id,
        execution_sequence,
        workspace_context,
        session_context
    from execution_candidates
    order by
        project_id asc, id asc, kind <> 'run' desc, (kind = 'run' and workspace_context = '{}') asc, session_id asc,
        is_stored desc, place asc
),

-- A run's own verdict beats what is read from the transcript.
outcomes as materialized (
    select distinct on (project_id, id)
        project_id,
        id,
        status,
        status_reason,
        error_message
    from execution_candidates
    order by
        project_id asc, id asc, reported_usage is not null desc, kind <> 'run' desc, is_outdated asc, ended_at desc,
        status <> 'pending' desc, session_id asc, is_stored desc, place asc
),

identities as materialized (
    select
        project_id,
        id,
        coalesce(min(timestamp) filter (where is_stored), min(timestamp)) as timestamp,
        min(session_id) as session_id,
        max(execution_time_ms) filter (where not is_outdated) as execution_time_ms,
        -- An older result does not name its model, unless it stands in a stream.
        (
            array_agg(
                reported_usage
                order by (reported_usage #>> '{0,model}') is not distinct from 'unknown' asc, is_stored asc
            ) filter (where reported_usage is not null)
        )[1] as reported_usage
    from execution_candidates
    group by project_id, id
),

seen_in as materialized (
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
    b.batch_id,
    b.execution_sequence,
    c.kind,
    c.command_raw,
    c.command_base,
    c.command_args,
    c.command_features,
    c.pattern_signature,
    b.workspace_context,
    b.session_context,
    i.session_id,
    c.device_id,
    v.sources,
    c.source_file_key,
    c.source_line,
    greatest(c.ended_at, i.timestamp) as ended_at,
    o.status,
    o.status_reason,
    o.error_message,
    coalesce(c.execution_time_ms, i.execution_time_ms) as execution_time_ms,
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
    case when not f.is_unpriced then t.cost_usd end as cost_usd,
    case when not f.is_unpriced then t.cost_usd - t.cache_read_cost_usd end as fresh_cost_usd,
    case when not f.is_unpriced then t.cache_savings_usd end as cache_savings_usd,
    case
        when f.is_unpriced then 'unpriced'
        when f.is_cut_run or t.unpriced_count > 0 then 'partial'
        when t.reported_count > 0 then 'reported'
        else 'computed'
    end as cost_status,
    i.reported_usage,
    t.is_output_reliable and not f.is_cut_run as is_output_reliable,
    c.output_characteristics,
    t.model_version,
    coalesce(e.ingested_at, now()) as ingested_at,
    now() as updated_at
from identities as i
inner join conversations as c on i.project_id = c.project_id and i.id = c.id
inner join settings as b on i.project_id = b.project_id and i.id = b.id
inner join outcomes as o on i.project_id = o.project_id and i.id = o.id
inner join seen_in as v on i.project_id = v.project_id and i.id = v.id
inner join execution_totals as t on i.project_id = t.project_id and i.id = t.execution_id
left join known_executions as e on i.project_id = e.project_id and i.id = e.id
cross join lateral (
    select
        t.priceable_count > 0 and t.unpriced_count = t.priceable_count as is_unpriced,
        -- Killed before its own sum was written: what is known is a lower bound.
        c.kind = 'run' and i.reported_usage is null as is_cut_run
) as f;

set local enable_nestloop = on;

delete from settled_executions as m
using known_executions as e
where
    m.project_id = e.project_id
    and m.id = e.id
    and (
        m.batch_id, m.execution_sequence, m.kind, m.command_raw, m.pattern_signature, m.workspace_context,
        m.session_context, m.session_id, m.sources, m.source_file_key, m.source_line, m.ended_at, m.status,
        m.status_reason, m.error_message, m.execution_time_ms, m.input_tokens, m.output_tokens, m.cached_tokens,
        m.cache_creation_5m_tokens, m.cache_creation_1h_tokens, m.request_count, m.tool_calls, m.tool_errors,
        m.cost_usd, m.fresh_cost_usd, m.cache_savings_usd, m.cost_status, m.reported_usage, m.is_output_reliable,
        m.output_characteristics, m.model_version
    ) is not distinct from (
        e.batch_id, e.execution_sequence, e.kind, e.command_raw, e.pattern_signature, e.workspace_context,
        e.session_context, e.session_id, e.sources, e.source_file_key, e.source_line, e.ended_at, e.status,
        e.status_reason, e.error_message, e.execution_time_ms, e.input_tokens, e.output_tokens, e.cached_tokens,
        e.cache_creation_5m_tokens, e.cache_creation_1h_tokens, e.request_count, e.tool_calls, e.tool_errors,
        e.cost_usd, e.fresh_cost_usd, e.cache_savings_usd, e.cost_status, e.reported_usage, e.is_output_reliable,
        e.output_characteristics, e.model_version
    );

-- A changed row makes way for its new form. An orphan whose work has found its command is no execution any more.
delete from raw.command_executions as e
using settled_executions as m
inner join known_executions as k on m.project_id = k.project_id and m.id = k.id
where e.project_id = k.project_id and e.id = k.id and e.timestamp = k.timestamp;

insert into raw.command_executions
select *
from settled_executions
where kind <> 'orphan' or request_count + tool_calls > 0;

insert into touched_work (project_id, execution_id, activity_date)
select
    project_id,
    id,
    (timestamp at time zone 'UTC')::date
from settled_executions;

insert into ops.touched_days (project_id, activity_date)
select distinct
    project_id,
    activity_date
from touched_work
where activity_date is not null
order by activity_date, project_id
on conflict (activity_date, project_id) do update set touched_at = clock_timestamp();

insert into merge_counts (table_name, outcome, row_count)
select
    'command_executions',
    c.outcome,
    c.row_count
from (
    select
        count(*) filter (
            where k.id is null and (m.kind <> 'orphan' or m.request_count + m.tool_calls > 0)
        ) as inserted,
        count(*) filter (where k.id is not null) as updated
    from settled_executions as m
    left join known_executions as k on m.project_id = k.project_id and m.id = k.id
) as settled
cross join (
    select count(*) as row_count
    from known_executions as k
    where
        exists(
            select from execution_targets as x
            where x.project_id = k.project_id and x.target_id = k.id
        )
        and not exists(
            select from settled_executions as m
            where m.project_id = k.project_id and m.id = k.id
        )
) as unchanged
cross join lateral (
    values ('inserted', settled.inserted), ('updated', settled.updated), ('unchanged', unchanged.row_count)
) as c (outcome, row_count);
