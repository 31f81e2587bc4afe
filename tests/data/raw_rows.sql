-- Random numbers come from hashes of a name, so that a row depends on its own identity alone.
create or replace function pg_temp.uniform(name text) returns double precision
language sql immutable
return (hashtextextended(name, 7) & 9007199254740991)::double precision / 9007199254740992;

-- Normal deviate (Irwin-Hall with four terms).
create or replace function pg_temp.normal(name text) returns double precision
language sql immutable
return (pg_temp.uniform(name || 'a') + pg_temp.uniform(name || 'b') + pg_temp.uniform(name || 'c')
    + pg_temp.uniform(name || 'd') - 2) * sqrt(3);

insert into app.project_config (project_id, display_name)
select 'project-' || n, 'Project ' || n from generate_series(1, %(projects)s) as n
on conflict do nothing;

create temporary table drawn as
select
    names.name,
    md5(names.name)::uuid as id,
    'project-' || (1 + floor(pg_temp.uniform(names.name || 'project') ^ 2 * %(projects)s))::integer as project_id,
    floor(pg_temp.uniform(names.name || 'pattern') ^ 2 * %(patterns)s)::integer as pattern,
    (days.activity_date::timestamp + interval '1 second' * floor(pg_temp.uniform(names.name || 'time') * 86400))
    at time zone 'UTC' as started_at,
    md5(days.activity_date || 'session' || names.n / 5 || %(seed)s) as session_id,
    floor(pg_temp.uniform(names.name || 'status') * 100)::integer as status_draw,
    floor(pg_temp.uniform(names.name || 'model') * 100)::integer as model_draw
from generate_series(0, %(days)s - 1) as d
cross join lateral (select %(first_date)s::date + d as activity_date) as days
cross join generate_series(1, %(per_day)s) as numbers (n)
cross join lateral (select days.activity_date || ':' || numbers.n || %(seed)s as name, numbers.n) as names;

create temporary table request_rows as
select
    drawn.project_id,
    drawn.id as execution_id,
    drawn.session_id,
    'msg_' || drawn.name || '_' || k as message_id,
    case when drawn.model_draw < 60 then 'claude-opus-4-5' when drawn.model_draw < 95 then 'claude-haiku-4-5' else 'local-model' end as model,
    drawn.started_at + interval '20 seconds' * k as requested_at,
    k = 3 as is_subagent,
    floor(exp(3 + pg_temp.normal(drawn.name || k || 'in')))::bigint as input_tokens,
    case when k = 1 then floor(exp(8 + 0.1 * (drawn.pattern %% 7) + pg_temp.normal(drawn.name || 'w5')))::bigint else 0 end as cache_creation_5m_tokens,
    case when k = 2 then floor(exp(8 + pg_temp.normal(drawn.name || 'w1')))::bigint else 0 end as cache_creation_1h_tokens,
    case
        when k = 1 then 0
        else floor(exp(6 + 0.5 * (drawn.pattern %% 9) + pg_temp.normal(drawn.name || k || 'r')))::bigint
    end as cache_read_tokens,
    floor(exp(6 + pg_temp.normal(drawn.name || k || 'out')))::bigint as output_tokens
from drawn
cross join generate_series(1, 3) as k
where drawn.pattern > 0;

insert into raw.model_requests (
    project_id, request_key, timestamp, message_id, request_id, session_id, execution_id, agent_id, model,
    input_tokens, cache_creation_tokens, cache_creation_5m_tokens, cache_creation_1h_tokens, cache_read_tokens,
    output_tokens, input_cost_usd, cache_write_cost_usd, cache_read_cost_usd, output_cost_usd, tool_cost_usd,
    cost_usd, cache_savings_usd, cost_status, source, source_file_key, source_offset
)
select
    r.project_id, r.message_id || ':req', r.requested_at, r.message_id, 'req', r.session_id, r.execution_id,
    case when r.is_subagent then 'agent' end, r.model,
    r.input_tokens, r.cache_creation_5m_tokens + r.cache_creation_1h_tokens, r.cache_creation_5m_tokens,
    r.cache_creation_1h_tokens, r.cache_read_tokens, r.output_tokens,
    p.input * r.input_tokens,
    p.input * (1.25 * r.cache_creation_5m_tokens + 2 * r.cache_creation_1h_tokens),
    p.input * 0.1 * r.cache_read_tokens,
    p.output * r.output_tokens,
    p.input * 0,
    p.input * (r.input_tokens + 1.25 * r.cache_creation_5m_tokens + 2 * r.cache_creation_1h_tokens + 0.1 * r.cache_read_tokens)
    + p.output * r.output_tokens,
    p.input * (0.9 * r.cache_read_tokens - 0.25 * r.cache_creation_5m_tokens - r.cache_creation_1h_tokens),
    case when p.input is null then 'unpriced' else 'computed' end,
    'claude_code', 'file', 0
from request_rows as r
cross join lateral (
    select
        case r.model when 'claude-opus-4-5' then 0.000005 when 'claude-haiku-4-5' then 0.000001 end::numeric as input,
        case r.model when 'claude-opus-4-5' then 0.000025 when 'claude-haiku-4-5' then 0.000005 end::numeric as output
) as p;

insert into raw.tool_calls (
    project_id, tool_use_id, timestamp, session_id, execution_id, message_id, tool_name, duration_ms, status,
    source, source_file_key, source_offset
)
select
    drawn.project_id, 'toolu_' || drawn.name || '_' || k, drawn.started_at + interval '10 seconds' * k,
    drawn.session_id, drawn.id, 'msg_' || drawn.name || '_' || k,
    (array['Bash', 'Read', 'Edit', 'Task'])[1 + floor(pg_temp.uniform(drawn.name || k || 'tool') * 4)::integer],
    case when k = 1 or drawn.status_draw < 90 then floor(exp(5 + 2 * pg_temp.normal(drawn.name || k || 'ms')))::bigint end,
    case
        when pg_temp.uniform(drawn.name || k || 'result') < 0.9 then 'ok'
        when pg_temp.uniform(drawn.name || k || 'result') < 0.96 then 'error'
        when k = 1 then 'rejected'
        else 'unanswered'
    end,
    'claude_code', 'file', 0
from drawn
cross join generate_series(1, 2) as k
where drawn.pattern > 0;

insert into raw.command_executions (
    project_id, id, timestamp, batch_id, kind, command_raw, command_base, command_features, pattern_signature,
    session_id, device_id, sources, source_file_key, source_line, ended_at, status, status_reason, execution_time_ms,
    total_tokens, input_tokens, output_tokens, cached_tokens, fresh_tokens, cache_creation_tokens,
    cache_creation_5m_tokens, cache_creation_1h_tokens, cache_hit_rate, request_count, tool_calls, tool_errors,
    cost_usd, fresh_cost_usd, cache_savings_usd, cost_status, is_output_reliable, model_version
)
select
    drawn.project_id, drawn.id, drawn.started_at, md5(drawn.session_id)::uuid,
    case drawn.pattern when 0 then 'local' when 1 then 'prompt' when 2 then 'orphan' else 'slash' end,
    '', case when drawn.pattern in (1, 2) then null else '/command-' || drawn.pattern / 4 end,
    jsonb_build_object(
        'base_command', '/command-' || drawn.pattern / 4,
        'scope_breadth', (array['narrow', 'medium', 'broad'])[1 + drawn.pattern %% 3],
        'specificity_level', (array['low', 'high'])[1 + floor(pg_temp.uniform(drawn.name || 'spec') * 2)::integer],
        'has_multiple_targets', drawn.pattern %% 2 = 0, 'test_type', null
    ),
    'v1:/command-' || drawn.pattern / 4 || ' <' || drawn.pattern || '>',
    case when drawn.status_draw <> 50 then drawn.session_id end, 'device', array['claude_code'], 'file', 1,
    drawn.started_at + interval '1 millisecond' * draws.elapsed_ms,
    draws.status, draws.status,
    case when drawn.pattern <> 2 and draws.status <> 'pending' then draws.elapsed_ms end,
    coalesce(s.input_tokens + s.output_tokens, 0), coalesce(s.input_tokens, 0), coalesce(s.output_tokens, 0),
    coalesce(s.cached_tokens, 0), coalesce(s.input_tokens + s.output_tokens - s.cached_tokens, 0),
    coalesce(s.written_5m + s.written_1h, 0), coalesce(s.written_5m, 0), coalesce(s.written_1h, 0),
    100 * s.cached_tokens / nullif(s.input_tokens, 0), coalesce(s.request_count, 0),
    case when drawn.pattern > 0 then 2 else 0 end, 0,
    case when s.request_count is null then 0 else s.cost_usd end, s.cost_usd - s.read_cost_usd, s.savings_usd,
    case when s.request_count > 0 and s.cost_usd is null then 'unpriced' else 'computed' end,
    drawn.status_draw %% 20 <> 0, s.model
from drawn
cross join lateral (
    select
        floor(exp(10 + pg_temp.normal(drawn.name || 'duration')))::bigint as elapsed_ms,
        case
            when drawn.status_draw < 80 then 'completed' when drawn.status_draw < 88 then 'failed'
            when drawn.status_draw < 92 then 'cancelled' when drawn.status_draw < 96 then 'timeout'
            else 'pending'
        end as status
) as draws
left join (
    select
        execution_id, count(*) as request_count, min(model) as model,
        sum(input_tokens + cache_creation_tokens + cache_read_tokens)::bigint as input_tokens,
        sum(output_tokens)::bigint as output_tokens, sum(cache_read_tokens)::bigint as cached_tokens,
        sum(cache_creation_5m_tokens)::bigint as written_5m, sum(cache_creation_1h_tokens)::bigint as written_1h,
        sum(cost_usd) as cost_usd, sum(cache_read_cost_usd) as read_cost_usd, sum(cache_savings_usd) as savings_usd
    from raw.model_requests
    where timestamp >= %(first_date)s::timestamp at time zone 'UTC'
        and timestamp < (%(first_date)s::date + %(days)s + 1)::timestamp at time zone 'UTC'
    group by execution_id
) as s on drawn.id = s.execution_id;

insert into ops.touched_days (project_id, activity_date)
select distinct project_id, (started_at at time zone 'UTC')::date from drawn
union
select distinct project_id, (requested_at at time zone 'UTC')::date from request_rows
on conflict (activity_date, project_id) do update set touched_at = excluded.touched_at;

drop table drawn;
drop table request_rows;
