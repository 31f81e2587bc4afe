select project_id, pattern_signature, rule_id, saving_usd
from (
    select distinct on (rule_id) project_id, pattern_signature, rule_id, saving_usd
    from marts.command_patterns as p
    cross join lateral jsonb_to_recordset(p.optimization_insights) as i (rule_id text, estimated_saving_usd numeric)
    cross join lateral (values (i.estimated_saving_usd)) as s (saving_usd)
    where project_id = any(%(projects)s) and saving_usd > 0
    order by rule_id, saving_usd desc, project_id, pattern_signature
) as best
order by saving_usd desc, rule_id
