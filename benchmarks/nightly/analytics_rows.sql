-- Random numbers come from hashes of a name, so that a row depends on its own identity alone.
create or replace function pg_temp.uniform(name text) returns double precision
language sql immutable
return (hashtextextended(name, 11) & 9007199254740991)::double precision / 9007199254740992;

-- Log-normal around 1.
create or replace function pg_temp.spread(name text) returns double precision
language sql immutable
return exp(sqrt(3) * (pg_temp.uniform(name || 'a') + pg_temp.uniform(name || 'b') + pg_temp.uniform(name || 'c')
    + pg_temp.uniform(name || 'd') - 2));

-- Score of an iteration of a run: better the longer it goes on, with luck.
create or replace function pg_temp.score(name text, iteration integer) returns numeric
language sql immutable
return round(least(1, 0.3 + 0.03 * iteration + 0.3 * pg_temp.uniform(name || 'score' || iteration))::numeric, 4);

insert into app.project_config (project_id, display_name)
select 'project-' || n, 'Project ' || n from generate_series(1, %(projects)s) as n
on conflict do nothing;

create temporary table drawn_runs as
select
    names.name,
    md5('run' || names.name)::uuid as id,
    'project-' || (1 + floor(pg_temp.uniform(names.name || 'project') ^ 2 * %(projects)s))::integer as project_id,
    (array['miprov2', 'gepa', 'bootstrap_random_search', 'copro', 'simba'])
    [1 + floor(pg_temp.uniform(names.name || 'optimizer') ^ 2 * 5)::integer] as optimizer_type,
    case
        when pg_temp.uniform(names.name || 'status') < 0.82 then 'completed'
        when pg_temp.uniform(names.name || 'status') < 0.94 then 'failed'
        else 'cancelled'
    end as status,
    -- Most runs are about a task of their week, the others about one that stays.
    case
        when pg_temp.uniform(names.name || 'kind') < 0.75
            then 'week ' || date_trunc('week', days.run_date)::date || ' task '
            || floor(pg_temp.uniform(names.name || 'task') * 20)::integer
        else 'benchmark ' || floor(pg_temp.uniform(names.name || 'task') ^ 2 * 10)::integer
    end as task,
    pg_temp.uniform(names.name || 'samples') < %(sampled_share)s as has_samples,
    4 + floor(pg_temp.uniform(names.name || 'length') * 9)::integer as iterations,
    (days.run_date::timestamp + interval '1 second' * floor(pg_temp.uniform(names.name || 'time') * 80000))
    at time zone 'UTC' as started_at
from generate_series(0, %(days)s - 1) as d
cross join lateral (select %(first_date)s::date + d as run_date) as days
cross join generate_series(1, %(runs_per_day)s) as numbers (n)
cross join lateral (select days.run_date || ':' || numbers.n || %(seed)s as name) as names;

insert into raw.optimization_runs (
    project_id, id, source, source_key, run_name, optimizer_type, status, config, task, dataset_hash, start_time,
    end_time, initial_score_raw, final_score_raw, reported_tokens, reported_cost_usd, samples_evaluated,
    successful_samples, failed_samples, tags, created_at
)
select
    project_id, id, 'benchmark', name, task || ' ' || name, optimizer_type, status,
    jsonb_build_object(
        'metric', 'exact_match',
        'model_config', jsonb_build_object('model', 'model-' || floor(pg_temp.uniform(name || 'model') ^ 2 * 12))
    ),
    task, 'data of ' || task, started_at,
    started_at + interval '1 second' * round(300 * pg_temp.spread(name || 'seconds') * iterations),
    case when pg_temp.uniform(name || 'baseline') < 0.9 then pg_temp.score(name, 0) end,
    case when status = 'completed' then pg_temp.score(name, iterations - 1) end,
    floor(30000 * iterations * pg_temp.spread(name || 'tokens')),
    case
        when pg_temp.uniform(name || 'priced') < 0.8
            then round((0.2 * iterations * pg_temp.spread(name || 'cost'))::numeric, 6)
    end,
    20, 15, 5, array['nightly'], started_at
from drawn_runs;

insert into raw.optimization_iterations (
    project_id, run_id, iteration, evaluation_kind, score_raw, params, tokens_used, cost_usd, iteration_start_time,
    iteration_end_time
)
select
    project_id, id, i,
    case when i = 0 or i = iterations - 1 or i %% 4 = 0 then 'full' else 'minibatch' end,
    pg_temp.score(name, i), jsonb_build_object('demos', i %% 5), floor(20000 * pg_temp.spread(name || i || 'tokens')),
    case when pg_temp.uniform(name || 'priced') < 0.8 then round((0.1 * pg_temp.spread(name || i))::numeric, 6) end,
    started_at + interval '1 minute' * i, started_at + interval '1 minute' * (i + 1)
from drawn_runs
cross join generate_series(0, iterations - 1) as i;

insert into raw.optimization_samples (
    project_id, run_id, iteration, sample_index, sample_key, score_raw, is_correct, latency_ms
)
select
    project_id, id, i, s, 'example ' || s, judged.is_correct::integer, judged.is_correct,
    floor(900 * pg_temp.spread(name || i || 's' || s))
from drawn_runs
cross join lateral (values (0), (iterations - 1)) as measured (i)
cross join generate_series(0, 19) as s
cross join lateral (select pg_temp.uniform(name || i || 'right' || s) < pg_temp.score(name, i) as is_correct) as judged
where has_samples;

drop table drawn_runs;

insert into raw.configurations (project_id, config_id, name)
select 'project-' || n, md5('agent ' || n)::uuid, 'agent' from generate_series(1, %(projects)s) as n
on conflict do nothing;

-- A new version every ten days, counted from a fixed day.
create temporary table drawn_versions as
select
    'project-' || n as project_id,
    md5('agent ' || n)::uuid as config_id,
    number,
    md5('agent ' || n || ' version ' || number)::uuid as version_id
from generate_series(1, %(projects)s) as n
cross join generate_series(
    greatest(0, (%(first_date)s::date - date '2025-01-01') / 10 - 1),
    (%(first_date)s::date + %(days)s - date '2025-01-01') / 10
) as number;

insert into raw.config_versions (project_id, version_id, config_id, version_number, raw_yaml, parsed_config)
select
    v.project_id, v.version_id, v.config_id, v.number + 1, 'temperature: 0.' || v.number,
    jsonb_build_object('model', 'model-' || v.number %% 7)
from drawn_versions as v
where not exists (
    select from raw.config_versions as c where c.project_id = v.project_id and c.version_id = v.version_id
)
order by v.number;

insert into raw.config_diffs (
    project_id, diff_id, config_id, version_before, number_before, version_after, number_after, change_summary,
    impact_prediction
)
select
    a.project_id, md5(a.version_id || 'diff')::uuid, a.config_id, b.version_id, b.version_number, a.version_id,
    a.version_number, '{}', '{"reliability": 0.02, "cost_usd": -0.001}'
from raw.config_versions as a
join raw.config_versions as b
    on a.project_id = b.project_id and a.config_id = b.config_id and a.version_number = b.version_number + 1
where a.version_id in (select version_id from drawn_versions)
on conflict do nothing;

drop table drawn_versions;

insert into raw.scenarios (project_id, scenario_id, name, difficulty_level)
select 'project-' || n, 's' || s, 'Scenario ' || s, (array['easy', 'medium', 'hard'])[1 + s %% 3]
from generate_series(1, %(projects)s) as n
cross join generate_series(0, %(scenarios)s - 1) as s
on conflict do nothing;

-- A simulation attempts every scenario up to ten times; each day has as many as its outcomes need.
create temporary table drawn_outcomes as
select
    names.name,
    md5('outcome' || names.name)::uuid as outcome_id,
    owners.project_id,
    numbers.n %% %(scenarios)s as scenario,
    1 + numbers.n / %(scenarios)s %% 10 as epoch,
    versions.number as version_number,
    md5(
        'simulation ' || owners.project_id || versions.number || days.run_date || %(seed)s || numbers.n / %(scenarios)s / 10
    )::uuid as simulation_id,
    days.run_date::timestamp at time zone 'UTC' as day_start,
    (days.run_date::timestamp + interval '1 second' * floor(pg_temp.uniform(names.name || 'time') * 86400))
    at time zone 'UTC' as executed_at,
    pg_temp.uniform(names.name || 'status') as status_draw,
    pg_temp.uniform(names.name || 'verdict') as verdict_draw
from generate_series(0, %(days)s - 1) as d
cross join lateral (select %(first_date)s::date + d as run_date) as days
cross join generate_series(0, %(outcomes_per_day)s - 1) as numbers (n)
cross join lateral (select days.run_date || ':' || numbers.n || %(seed)s as name) as names
cross join lateral (
    select
        'project-' || (1 + floor(pg_temp.uniform(names.name || 'owner') ^ 2 * %(projects)s))::integer as project_id
) as owners
cross join lateral (
    -- The version before is evaluated beside the newest.
    select (days.run_date - date '2025-01-01') / 10 - (pg_temp.uniform(names.name || 'version') < 0.25)::integer as number
) as versions;

insert into raw.simulations (
    project_id, simulation_id, config_version_id, status, source, source_key, completed_at, created_at
)
select distinct on (d.project_id, d.simulation_id)
    d.project_id, d.simulation_id,
    md5('agent ' || substring(d.project_id from '[0-9]+$') || ' version ' || d.version_number)::uuid,
    'completed', 'benchmark', d.simulation_id::text, d.day_start + interval '1 day', d.day_start
from drawn_outcomes as d
order by d.project_id, d.simulation_id;

insert into raw.simulation_scenarios (project_id, simulation_id, scenario_id, execution_order, status)
select distinct project_id, simulation_id, 's' || scenario, scenario + 1, 'completed' from drawn_outcomes;

insert into raw.outcomes (
    project_id, outcome_id, execution_time, simulation_id, scenario_id, epoch, status, score_raw, is_passed,
    execution_time_ms, tokens_used, cost_usd, cost_status, retry_count, model, trajectory
)
select
    d.project_id, d.outcome_id, d.executed_at, d.simulation_id, 's' || d.scenario, d.epoch, judged.status,
    case when pg_temp.uniform(d.name || 'scored') < 0.7 then round(pg_temp.uniform(d.name || 'score')::numeric, 4) end,
    case
        when judged.status <> 'error' and d.verdict_draw < 0.85
            then judged.status = 'success' and pg_temp.uniform(d.name || 'passed') < 0.9 - 0.01 * (d.scenario %% 40)
    end,
    case when pg_temp.uniform(d.name || 'timed') < 0.9 then 3000 * pg_temp.spread(d.name || 'ms') end,
    case when pg_temp.uniform(d.name || 'counted') < 0.9 then floor(2000 * pg_temp.spread(d.name || 'tokens')) end,
    judged.cost_usd, case when judged.cost_usd is null then 'unpriced' else 'computed' end,
    floor(pg_temp.uniform(d.name || 'retries') ^ 3 * 3)::integer, 'model-' || d.version_number %% 7,
    jsonb_build_object('start_time', d.executed_at, 'status', judged.status)
from drawn_outcomes as d
cross join lateral (
    select
        case
            when d.status_draw < 0.84 then 'success' when d.status_draw < 0.91 then 'error'
            when d.status_draw < 0.97 then 'timeout' else 'cancelled'
        end as status,
        case
            when pg_temp.uniform(d.name || 'priced') < 0.8
                then round((0.02 * pg_temp.spread(d.name || 'cost'))::numeric, 6)
        end as cost_usd
) as judged;

insert into raw.tool_usage (project_id, outcome_id, execution_time, call_number, tool_name, status, duration_ms)
select
    d.project_id, d.outcome_id, d.executed_at, c,
    (array['find', 'open', 'change', 'check', 'ask', 'run'])
    [1 + floor(pg_temp.uniform(d.name || c || 'tool') ^ 1.5 * 6)::integer],
    case
        when pg_temp.uniform(d.name || c || 'result') < 0.9 then 'ok'
        when pg_temp.uniform(d.name || c || 'result') < 0.98 then 'error'
        else 'unanswered'
    end,
    case when pg_temp.uniform(d.name || c || 'timed') < 0.9 then round((150 * pg_temp.spread(d.name || c))::numeric, 2) end
from drawn_outcomes as d
cross join generate_series(1, floor(pg_temp.uniform(d.name || 'calls') * 5)::integer) as c;

insert into raw.failure_patterns (
    project_id, pattern_id, outcome_id, execution_time, failure_type, failure_category, error_template, cluster_id,
    recovery_attempted, recovery_successful
)
select
    d.project_id, md5('failure' || d.name)::uuid, d.outcome_id, d.executed_at, categories.name, categories.name,
    templates.template, 'v1:' || md5(templates.template),
    pg_temp.uniform(d.name || 'tried') < 0.5, pg_temp.uniform(d.name || 'tried') < 0.5 and d.status_draw < 0.84
from drawn_outcomes as d
cross join lateral (
    select
        (array['timeout', 'tool_error', 'model_error'])
        [1 + floor(pg_temp.uniform(d.name || 'category') * 3)::integer] as name
) as categories
cross join lateral (
    select
        categories.name || ': <path> line <n>, kind '
        || floor(pg_temp.uniform(d.name || 'template') ^ 3 * 60)::integer as template
) as templates
where d.status_draw between 0.84 and 0.97 or pg_temp.uniform(d.name || 'failed') < 0.05;

drop table drawn_outcomes;
