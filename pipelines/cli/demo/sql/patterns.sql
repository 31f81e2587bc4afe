select
    project_id, coalesce(command_base, 'free text') as command, pattern_signature, sample_size as runs, success_rate,
    tokens_p50, cost_usd, cache_hit_rate
from marts.command_patterns
where project_id = any(%(projects)s) and sample_size > 0
order by cost_usd desc nulls last, project_id, pattern_signature
limit 6
