-- The words of a trajectory are all its strings, in their order; names of fields say nothing of what happened.
select
    o.project_id,
    o.outcome_id::text as subject_key,
    concat_ws(e'\n', o.status, o.error_code, (
        select string_agg(s.value #>> '{}', e'\n' order by s.place)
        from jsonb_path_query(o.trajectory, 'strict $.** ? (@.type() == "string")') with ordinality as s (value, place)
    )) as content,
    o.updated_at as subject_updated_at
from raw.outcomes as o
