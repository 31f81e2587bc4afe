-- Tool calls and failures of an outcome are numbered: those beyond what the document says now are gone.
delete from raw.tool_usage as t
using fresh_outcomes as o
where
    t.project_id = o.project_id
    and t.outcome_id = o.outcome_id
    and t.execution_time = o.execution_time
    and not exists (
        select from fresh_tool_usage as f
        where f.project_id = t.project_id and f.outcome_id = t.outcome_id and f.call_number = t.call_number
    );

delete from raw.failure_patterns as p
using fresh_outcomes as o
where
    p.project_id = o.project_id
    and p.outcome_id = o.outcome_id
    and p.execution_time = o.execution_time
    and not exists (
        select from fresh_failure_patterns as f
        where f.project_id = p.project_id and f.pattern_id = p.pattern_id
    );
