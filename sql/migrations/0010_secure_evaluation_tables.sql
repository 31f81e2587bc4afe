-- What the evaluation tables mean and who may do what with them. Partitions now bring generated columns along, are made
-- for schema audit too, and for those tables only that are about to be written.
set local lock_timeout = '5s';
set local role tracemill_owner;

create or replace function ops.ensure_table_partitions(only_tables text[], first_day date, last_day date)
returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    parent record;
    month date;
    child text;
    made integer := 0;
begin
    for month in
        select generate_series(date_trunc('month', first_day), date_trunc('month', last_day), interval '1 month')::date
    loop
        for parent in
            select n.nspname, c.relname
            from pg_class as c
            join pg_namespace as n on n.oid = c.relnamespace
            where c.relkind = 'p' and (only_tables is null or c.relname = any(only_tables))
                -- What is written in a month is audited in that month: the past needs no partition.
                and (n.nspname = 'raw' or n.nspname = 'audit' and month >= date_trunc('month', current_date))
            order by c.relname
        loop
            child := format('%s_%s', parent.relname, to_char(month, 'YYYY_MM'));
            continue when to_regclass(format('partitions.%I', child)) is not null;
            perform pg_advisory_xact_lock(hashtextextended('tracemill.partitions', 0));
            -- Another session may have made it meanwhile; a query sees that, a cached name look-up does not.
            continue when exists(
                select from pg_class as c
                where c.relnamespace = 'partitions'::regnamespace and c.relname = child
            );
            -- Attaching takes a weaker lock on the parent than CREATE TABLE … PARTITION OF: readers go on.
            execute format(
                'create table partitions.%I (like %I.%I including defaults including constraints including generated)',
                child, parent.nspname, parent.relname
            );
            execute format('alter table partitions.%I enable row level security', child);
            execute format(
                'alter table %I.%I attach partition partitions.%I for values from (%L) to (%L)',
                parent.nspname, parent.relname, child,
                to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
                to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
            );
            if parent.nspname = 'audit' then
                execute format(
                    'create trigger entries_stay_when_truncated before truncate on partitions.%I '
                    'for each statement execute function audit.refuse_change()', child
                );
            end if;
            made := made + 1;
        end loop;
    end loop;
    return made;
end
$$;
comment on function ops.ensure_table_partitions is 'Makes the monthly partitions of only_tables, or of all raw and audit tables where that is NULL, from the month of first_day to that of last_day; returns how many were missing. Safe to repeat and to run twice at once.';
grant execute on function ops.ensure_table_partitions(text[], date, date) to tracemill_ingest;

create or replace function ops.ensure_month_partitions(first_day date, last_day date) returns integer
language sql security definer
set search_path = pg_catalog, pg_temp
as $$
    select ops.ensure_table_partitions(null, first_day, last_day)
$$;
comment on function ops.ensure_month_partitions is 'Makes the monthly partitions of every raw and audit table from the month of first_day to that of last_day; returns how many were missing. Safe to repeat and to run twice at once.';

create or replace function ops.number_config_version() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    if new.version_number is null then
        perform from raw.configurations as c
        where c.project_id = new.project_id and c.config_id = new.config_id
        for no key update;
        select coalesce(max(v.version_number), 0) + 1 into new.version_number
        from raw.config_versions as v
        where v.project_id = new.project_id and v.config_id = new.config_id;
    end if;
    return new;
end
$$;
comment on function ops.number_config_version is 'Trigger: a version without a number gets the next one of its configuration; writers of one configuration take turns.';

create or replace function ops.keep_config_version() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
declare
    kept raw.config_versions := old;
begin
    if tg_op = 'UPDATE' then
        kept.is_deleted := new.is_deleted;
        kept.config_hash := new.config_hash;  -- generated columns have no value yet, and follow the others
        kept.model := new.model;
        if kept is not distinct from new then
            return new;
        end if;
    end if;
    raise exception 'version % of configuration % stays as it is: write a new version, or set is_deleted',
        old.version_number, old.config_id using errcode = 'restrict_violation';
end
$$;
comment on function ops.keep_config_version is 'Trigger: refuses every change of a version but is_deleted, whoever asks for it.';

create or replace trigger config_versions_are_numbered
before insert on raw.config_versions for each row execute function ops.number_config_version();
create or replace trigger config_versions_are_immutable
before update or delete on raw.config_versions for each row execute function ops.keep_config_version();

do $$
declare
    table_name text;
begin
    foreach table_name in array array['configurations', 'scenarios', 'simulations', 'outcomes', 'recommendations'] loop
        execute format(
            'create or replace trigger %I before update on raw.%I for each row execute function ops.set_updated_at()',
            table_name || '_updated_at', table_name
        );
    end loop;
    foreach table_name in array array['outcomes', 'tool_usage', 'failure_patterns'] loop
        execute format('create table if not exists partitions.%I partition of raw.%I default', table_name || '_default', table_name);
        execute format('alter table partitions.%I enable row level security', table_name || '_default');
    end loop;
    foreach table_name in array array[
        'configurations', 'config_versions', 'config_diffs', 'scenarios', 'simulations', 'simulation_scenarios',
        'outcomes', 'tool_usage', 'failure_patterns', 'recommendations'
    ] loop
        execute format('alter table raw.%I enable row level security', table_name);
        execute format('alter table raw.%I force row level security', table_name);
        execute format('drop policy if exists platform_all on raw.%I', table_name);
        execute format('drop policy if exists own_projects on raw.%I', table_name);
        execute format('create policy platform_all on raw.%I to tracemill_owner, tracemill_ingest, tracemill_dbt using (true) with check (true)', table_name);
        execute format(
            'create policy own_projects on raw.%I for select to service_role, authenticated, app_user, app_admin, app_readonly '
            || 'using (project_id = any((select app.current_projects())::text[]))', table_name
        );
        execute format('grant select on raw.%I to tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly', table_name);
        if table_name <> 'config_versions' then
            execute format('grant select, insert, update, delete on raw.%I to tracemill_ingest', table_name);
        end if;
    end loop;
end
$$;
grant select, insert, update (is_deleted) on raw.config_versions to tracemill_ingest;

create or replace view raw.latest_config_versions with (security_invoker = true) as
select distinct on (v.project_id, v.config_id)
    v.project_id,
    v.config_id,
    c.name,
    v.version_id,
    v.version_number,
    v.model,
    v.parsed_config,
    v.config_hash,
    v.generated_by,
    v.created_at
from raw.config_versions as v
inner join raw.configurations as c on v.project_id = c.project_id and v.config_id = c.config_id
where not v.is_deleted
order by v.project_id asc, v.config_id asc, v.version_number desc;
comment on view raw.latest_config_versions is 'The newest version of each configuration that is not deleted, one row per configuration.';

create or replace view raw.simulation_progress with (security_invoker = true) as
select
    s.project_id,
    s.simulation_id,
    s.status,
    coalesce(p.scenario_set, '{}') as scenario_set,
    coalesce(p.total_scenarios, 0) as total_scenarios,
    coalesce(p.completed_scenarios, 0) as completed_scenarios
from raw.simulations as s
left join lateral (
    select
        array_agg(j.scenario_id order by j.execution_order) as scenario_set,
        count(*) as total_scenarios,
        count(*) filter (where j.status in ('completed', 'failed', 'cancelled')) as completed_scenarios
    from raw.simulation_scenarios as j
    where j.project_id = s.project_id and j.simulation_id = s.simulation_id
) as p on true;
comment on view raw.simulation_progress is 'How far each simulation is, one row per simulation: its scenarios in order, how many there are and how many have ended.';
grant select on raw.latest_config_versions, raw.simulation_progress
to tracemill_ingest, tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly;

comment on table raw.configurations is 'What was evaluated, one row per named configuration. Never deleted once it has versions: is_active says whether it is in use.';
comment on column raw.configurations.project_id is 'Tenant.';
comment on column raw.configurations.config_id is 'Identity within the project.';
comment on column raw.configurations.name is 'Name for people, unique in the project.';
comment on column raw.configurations.user_id is 'Who made it, as the source says.';
comment on column raw.configurations.is_active is 'False once it is archived.';
comment on column raw.configurations.created_at is 'When the row was written.';
comment on column raw.configurations.updated_at is 'When it last changed.';

comment on table raw.config_versions is 'What a configuration said at one time, one row per version. Only is_deleted ever changes.';
comment on column raw.config_versions.project_id is 'Tenant.';
comment on column raw.config_versions.version_id is 'Identity within the project.';
comment on column raw.config_versions.config_id is 'Configuration.';
comment on column raw.config_versions.version_number is 'Number within the configuration, from 1; the next one where the writer gives none.';
comment on column raw.config_versions.raw_yaml is 'The configuration as YAML, redacted, at most 1 MiB.';
comment on column raw.config_versions.parsed_config is 'The same as a JSON object.';
comment on column raw.config_versions.config_hash is 'SHA-256 of raw_yaml in hexadecimal: the same text is one version.';
comment on column raw.config_versions.model is 'Model that the configuration names, where it names one.';
comment on column raw.config_versions.generated_by is 'manual, ingest, diff_engine, optimization or api.';
comment on column raw.config_versions.is_deleted is 'True once the version is no longer in use.';
comment on column raw.config_versions.created_at is 'When the row was written.';

comment on table raw.config_diffs is 'What changed from one version to a later one of the same configuration, one row per pair.';
comment on column raw.config_diffs.project_id is 'Tenant.';
comment on column raw.config_diffs.diff_id is 'Identity within the project.';
comment on column raw.config_diffs.config_id is 'Configuration of both versions.';
comment on column raw.config_diffs.version_before is 'Earlier version.';
comment on column raw.config_diffs.number_before is 'Its number.';
comment on column raw.config_diffs.version_after is 'Later version.';
comment on column raw.config_diffs.number_after is 'Its number.';
comment on column raw.config_diffs.diff_yaml is 'Unified diff of the YAML; NULL where it would be longer than 512 KiB: both versions are there.';
comment on column raw.config_diffs.change_summary is 'Added, removed and changed values by their paths.';
comment on column raw.config_diffs.impact_prediction is 'What the change is expected to do.';
comment on column raw.config_diffs.approval_status is 'pending, approved or rejected.';
comment on column raw.config_diffs.approved_by is 'Who approved or rejected it.';
comment on column raw.config_diffs.approved_at is 'When.';
comment on column raw.config_diffs.created_at is 'When the row was written.';

comment on table raw.scenarios is 'Tasks to evaluate with, one row per task; a sample of a data set is one.';
comment on column raw.scenarios.project_id is 'Tenant.';
comment on column raw.scenarios.scenario_id is 'Slug within the project.';
comment on column raw.scenarios.name is 'Name for people.';
comment on column raw.scenarios.task_prompt is 'What the agent is asked, redacted; NULL where the source does not hold it.';
comment on column raw.scenarios.ground_truth is 'Expected answer.';
comment on column raw.scenarios.difficulty_level is 'easy, medium or hard; NULL where nobody rated it.';
comment on column raw.scenarios.tags is 'At most 20 labels.';
comment on column raw.scenarios.expected_tools is 'Tools that a good answer uses.';
comment on column raw.scenarios.is_active is 'False once it is no longer evaluated.';
comment on column raw.scenarios.estimated_duration_ms is 'Expected time in milliseconds.';
comment on column raw.scenarios.dataset is 'Data set that it comes from.';
comment on column raw.scenarios.source_id is 'Its id there.';
comment on column raw.scenarios.created_at is 'When the row was written.';
comment on column raw.scenarios.updated_at is 'When it last changed.';
comment on column raw.scenarios.search_vector is 'Words of name and prompt, as they stand and by their English stems.';

comment on table raw.simulations is 'Evaluation runs, one row per run of one configuration version over a set of scenarios.';
comment on column raw.simulations.project_id is 'Tenant.';
comment on column raw.simulations.simulation_id is 'Identity within the project.';
comment on column raw.simulations.config_version_id is 'Version that was evaluated.';
comment on column raw.simulations.simulation_name is 'Name for people.';
comment on column raw.simulations.status is 'pending, running, completed, failed or cancelled.';
comment on column raw.simulations.overall_score_raw is 'Score of the whole run as its source sums it up; NULL where it does not.';
comment on column raw.simulations.score_scale is 'Smallest and largest score possible.';
comment on column raw.simulations.overall_score is 'The score on 0..1; NULL without one or without bounds.';
comment on column raw.simulations.execution_time_ms is 'Wall time in milliseconds as the source gives it.';
comment on column raw.simulations.total_cost_usd is 'USD as the source gives it; NULL where it does not.';
comment on column raw.simulations.metadata is 'Settings of the run beyond the configuration.';
comment on column raw.simulations.timeout_ms is 'Limit per scenario in milliseconds; NULL without one.';
comment on column raw.simulations.max_retries is 'Limit of repetitions per scenario; NULL where the source does not say.';
comment on column raw.simulations.priority is '1 to 10, 10 first.';
comment on column raw.simulations.source is 'Format or client that the run came from.';
comment on column raw.simulations.source_key is 'Identity of the run in its source: the same run is written once however often it is read.';
comment on column raw.simulations.started_at is 'When it began, UTC.';
comment on column raw.simulations.completed_at is 'When it ended, however it ended, UTC; NULL while it runs.';
comment on column raw.simulations.created_at is 'When the row was written, whenever the run was.';
comment on column raw.simulations.updated_at is 'When it last changed.';

comment on table raw.simulation_scenarios is 'Which scenarios a simulation covers, one row per pair.';
comment on column raw.simulation_scenarios.project_id is 'Tenant.';
comment on column raw.simulation_scenarios.simulation_id is 'Simulation.';
comment on column raw.simulation_scenarios.scenario_id is 'Scenario.';
comment on column raw.simulation_scenarios.execution_order is 'Place in the simulation, from 1.';
comment on column raw.simulation_scenarios.status is 'pending, running, completed, failed or cancelled.';
comment on column raw.simulation_scenarios.retry_count is 'Repetitions after the first attempt.';

comment on table raw.outcomes is 'Results, one row per attempt at a scenario in a simulation. Large trajectories are stored out of line, so that a scan of scores does not read them.';
comment on column raw.outcomes.project_id is 'Tenant.';
comment on column raw.outcomes.outcome_id is 'Identity within the project.';
comment on column raw.outcomes.execution_time is 'When the attempt began, UTC; fixed at first sight.';
comment on column raw.outcomes.simulation_id is 'Simulation.';
comment on column raw.outcomes.scenario_id is 'Scenario, one of the simulation''s.';
comment on column raw.outcomes.epoch is 'Which attempt at the scenario, from 1.';
comment on column raw.outcomes.status is 'Whether the attempt came to an end: success, error, timeout or cancelled. Whether the answer was right is is_passed.';
comment on column raw.outcomes.score_raw is 'Score as given; NULL without one.';
comment on column raw.outcomes.score_scale is 'Smallest and largest score possible.';
comment on column raw.outcomes.reliability_score is 'The score on 0..1; NULL without one or without bounds.';
comment on column raw.outcomes.is_passed is 'Verdict of the scorer; NULL without one.';
comment on column raw.outcomes.execution_time_ms is 'Wall time in milliseconds; NULL where the source does not say.';
comment on column raw.outcomes.model is 'Model that answered.';
comment on column raw.outcomes.tokens_used is 'All tokens; NULL where the source does not say.';
comment on column raw.outcomes.input_tokens is 'Uncached prompt tokens.';
comment on column raw.outcomes.cache_read_tokens is 'Prompt tokens read from the cache.';
comment on column raw.outcomes.cache_creation_tokens is 'Prompt tokens written to the cache.';
comment on column raw.outcomes.output_tokens is 'Tokens generated, reasoning included.';
comment on column raw.outcomes.cost_usd is 'USD; NULL where nothing is priced, a lower bound where cost_status is partial.';
comment on column raw.outcomes.cost_status is 'reported by the source, computed from list prices, partial or unpriced.';
comment on column raw.outcomes.step_count is 'Steps of the trajectory.';
comment on column raw.outcomes.trajectory is 'What happened, redacted: at least start_time and status.';
comment on column raw.outcomes.metrics is 'Further scores by name.';
comment on column raw.outcomes.retry_count is 'Repetitions within the attempt.';
comment on column raw.outcomes.error_code is 'Short name of the error.';
comment on column raw.outcomes.sandbox_id is 'Sandbox that was used.';
comment on column raw.outcomes.created_at is 'When the row was written.';
comment on column raw.outcomes.updated_at is 'When it last changed.';

comment on table raw.tool_usage is 'Tool calls of outcomes, one row per call in their order; rates and means are left to the marts.';
comment on column raw.tool_usage.project_id is 'Tenant.';
comment on column raw.tool_usage.outcome_id is 'Outcome that made the call.';
comment on column raw.tool_usage.execution_time is 'When the outcome began, UTC.';
comment on column raw.tool_usage.call_number is 'Place within the outcome, from 1.';
comment on column raw.tool_usage.tool_name is 'Name of the tool.';
comment on column raw.tool_usage.status is 'ok, error or unanswered.';
comment on column raw.tool_usage.started_at is 'When the tool was called, UTC; NULL where the source does not say.';
comment on column raw.tool_usage.duration_ms is 'Milliseconds to the answer; NULL where the source does not say.';
comment on column raw.tool_usage.cost_usd is 'USD; NULL where the source does not say.';
comment on column raw.tool_usage.error_type is 'Short name of the error.';
comment on column raw.tool_usage.error_message is 'Error text, redacted.';
comment on column raw.tool_usage.created_at is 'When the row was written.';

comment on table raw.failure_patterns is 'Failures, one row per failure of an outcome; cluster_id joins those that are alike.';
comment on column raw.failure_patterns.project_id is 'Tenant.';
comment on column raw.failure_patterns.pattern_id is 'Identity within the project.';
comment on column raw.failure_patterns.outcome_id is 'Outcome that failed.';
comment on column raw.failure_patterns.execution_time is 'When the outcome began, UTC.';
comment on column raw.failure_patterns.failure_type is 'Short name of what failed.';
comment on column raw.failure_patterns.failure_category is 'timeout, tool_error, model_error, validation_error, system_error or unknown.';
comment on column raw.failure_patterns.error_message is 'Error text, redacted, at most 10,000 characters.';
comment on column raw.failure_patterns.error_template is 'Error text without what differs from case to case.';
comment on column raw.failure_patterns.cluster_id is 'Failures alike, by template or by clustering.';
comment on column raw.failure_patterns.cluster_confidence is 'How sure the clustering is, 0 to 1; NULL where the template decides.';
comment on column raw.failure_patterns.recovery_attempted is 'Whether the agent tried to recover.';
comment on column raw.failure_patterns.recovery_successful is 'Whether it did.';
comment on column raw.failure_patterns.resolution_steps is 'How to mend it.';
comment on column raw.failure_patterns.created_at is 'When the row was written.';
comment on column raw.failure_patterns.search_vector is 'Words of type and message as they stand.';

comment on table raw.recommendations is 'What to improve, one row per suggestion about exactly one simulation, outcome, failure, diff or scenario; goes with it.';
comment on column raw.recommendations.project_id is 'Tenant.';
comment on column raw.recommendations.recommendation_id is 'Identity within the project.';
comment on column raw.recommendations.simulation_id is 'Simulation it is about.';
comment on column raw.recommendations.outcome_id is 'Outcome it is about.';
comment on column raw.recommendations.pattern_id is 'Failure it is about.';
comment on column raw.recommendations.execution_time is 'When that outcome began, UTC.';
comment on column raw.recommendations.diff_id is 'Change of configuration it is about.';
comment on column raw.recommendations.scenario_id is 'Scenario it is about.';
comment on column raw.recommendations.source_type is 'simulation, outcome, pattern_analysis, config_diff or scenario.';
comment on column raw.recommendations.recommendation_type is 'config_change, scenario_addition, tool_optimization or performance_tuning.';
comment on column raw.recommendations.description is 'What to do, redacted.';
comment on column raw.recommendations.suggested_yaml_changes is 'Change of the configuration as YAML.';
comment on column raw.recommendations.impact_estimate is 'What it is expected to bring.';
comment on column raw.recommendations.confidence is 'How sure it is, 0 to 1.';
comment on column raw.recommendations.applied is 'Whether it was followed.';
comment on column raw.recommendations.applied_at is 'When.';
comment on column raw.recommendations.applied_by is 'By whom.';
comment on column raw.recommendations.feedback_score is 'How helpful it was, 1 to 5.';
comment on column raw.recommendations.created_at is 'When the row was written.';
comment on column raw.recommendations.updated_at is 'When it last changed.';

reset role;
