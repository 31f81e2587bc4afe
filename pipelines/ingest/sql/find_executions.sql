-- The executions whose work the batch touches, as the warehouse holds them, and what their clients reported of them.

insert into touched_executions (project_id, execution_ids)
select
    project_id,
    array_agg(distinct execution_id) as execution_ids
from touched_work
group by project_id;

insert into known_executions
select e.*
from touched_executions as t
cross join lateral (
    select e.*
    from raw.command_executions as e
    where e.project_id = t.project_id and e.id = any(t.execution_ids)
    offset 0
) as e;

insert into reported_usages (
    project_id, execution_id, timestamp, session_id, source_file_key, model, input_tokens, cache_creation_tokens,
    cache_read_tokens, output_tokens, web_search_requests, cost_usd
)
select
    e.project_id,
    e.execution_id,
    e.timestamp,
    e.session_id,
    e.source_file_key,
    u.model,
    coalesce(u.input_tokens, 0) as input_tokens,
    coalesce(u.cache_creation_tokens, 0) as cache_creation_tokens,
    coalesce(u.cache_read_tokens, 0) as cache_read_tokens,
    coalesce(u.output_tokens, 0) as output_tokens,
    coalesce(u.web_search_requests, 0) as web_search_requests,
    round(u.cost_usd, 12) as cost_usd
from (
    select distinct on (project_id, execution_id) *
    from (
        select
            project_id,
            id as execution_id,
            timestamp,
            session_id,
            source_file_key,
            reported_usage,
            true as is_stored
        from known_executions
        union all
        -- An execution keeps the moment at which it was first seen, whichever source that was.
        select
            x.project_id,
            x.target_id as execution_id,
            coalesce(k.timestamp, s.timestamp) as timestamp,
            s.session_id,
            s.source_file_key,
            s.reported_usage,
            false as is_stored
        from staged_executions as s
        inner join execution_targets as x on s.project_id = x.project_id and s.id = x.id
        left join known_executions as k on x.project_id = k.project_id and x.target_id = k.id
    ) as sights
    where reported_usage is not null
    order by project_id, execution_id, is_stored desc
) as e
cross join lateral jsonb_to_recordset(e.reported_usage) as u (
    model text,
    input_tokens bigint,
    cache_creation_tokens bigint,
    cache_read_tokens bigint,
    output_tokens bigint,
    web_search_requests bigint,
    cost_usd numeric
);
