-- Evaluations: which configuration met which scenario, and how it went. Keys carry project_id first, so one tenant's
-- ids say nothing about another's. What can be counted or averaged is not stored: totals, latest versions and rates
-- are derived. Unknown stays NULL: an outcome without a score is not a bad one, one without a price is not free.
set local lock_timeout = '5s';
set local role tracemill_owner;

create or replace function app.text_sha256(content text) returns text
language sql immutable strict parallel safe
set search_path = pg_catalog, pg_temp
as $$
    select encode(sha256(convert_to(content, 'UTF8')), 'hex')
$$;
comment on function app.text_sha256 is 'SHA-256 of a text in UTF-8, in hexadecimal.';
grant execute on function app.text_sha256(text) to tracemill_ingest, tracemill_dbt;

create table if not exists raw.configurations (
    project_id text not null,
    config_id uuid not null default gen_random_uuid(),
    name text not null,
    user_id text,
    is_active boolean not null default true,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint configurations_pkey primary key (project_id, config_id),
    constraint configurations_name_key unique (project_id, name),
    constraint valid_name check (name ~ '^[^[:cntrl:]]{1,200}$'),
    constraint valid_timestamps check (updated_at >= created_at)
);

create table if not exists raw.config_versions (
    project_id text not null,
    version_id uuid not null default gen_random_uuid(),
    config_id uuid not null,
    version_number integer not null,
    raw_yaml text not null,
    parsed_config jsonb not null,
    config_hash text not null generated always as (app.text_sha256(raw_yaml)) stored,
    model text generated always as (parsed_config ->> 'model') stored,
    generated_by text not null default 'manual',
    is_deleted boolean not null default false,
    created_at timestamptz not null default now(),
    constraint config_versions_pkey primary key (project_id, version_id),
    constraint config_versions_number_key unique (project_id, config_id, version_number),
    constraint config_versions_hash_key unique (project_id, config_id, config_hash),
    constraint config_versions_for_diffs unique (project_id, config_id, version_id, version_number),
    constraint config_versions_config_fkey foreign key (project_id, config_id)
    references raw.configurations (project_id, config_id),
    constraint version_number_is_positive check (version_number > 0),
    constraint raw_yaml_is_at_most_1_mib check (octet_length(raw_yaml) <= 1048576),
    constraint valid_parsed_config check (jsonb_typeof(parsed_config) = 'object'),
    constraint generated_by_check check (generated_by in ('manual', 'ingest', 'diff_engine', 'optimization', 'api'))
);
create index if not exists config_versions_parsed
on raw.config_versions using gin (project_id, parsed_config jsonb_path_ops);

create table if not exists raw.config_diffs (
    project_id text not null,
    diff_id uuid not null default gen_random_uuid(),
    config_id uuid not null,
    version_before uuid not null,
    number_before integer not null,
    version_after uuid not null,
    number_after integer not null,
    diff_yaml text,
    change_summary jsonb not null,
    impact_prediction jsonb,
    approval_status text not null default 'pending',
    approved_by text,
    approved_at timestamptz,
    created_at timestamptz not null default now(),
    constraint config_diffs_pkey primary key (project_id, diff_id),
    constraint config_diffs_versions_key unique (project_id, version_before, version_after),
    constraint config_diffs_before_fkey foreign key (project_id, config_id, version_before, number_before)
    references raw.config_versions (project_id, config_id, version_id, version_number),
    constraint config_diffs_after_fkey foreign key (project_id, config_id, version_after, number_after)
    references raw.config_versions (project_id, config_id, version_id, version_number),
    constraint versions_are_in_order check (number_before < number_after),
    constraint diff_yaml_is_at_most_512_kib check (octet_length(diff_yaml) <= 524288),
    constraint approval_status_check check (approval_status in ('pending', 'approved', 'rejected')),
    constraint decisions_have_an_author check (
        (approval_status = 'pending') = (approved_by is null) and (approved_by is null) = (approved_at is null)
    )
);
create index if not exists config_diffs_by_config on raw.config_diffs (project_id, config_id, created_at desc);
create index if not exists config_diffs_by_version_after on raw.config_diffs (project_id, version_after);

create table if not exists raw.scenarios (
    project_id text not null,
    scenario_id text not null,
    name text not null,
    task_prompt text,
    ground_truth jsonb,
    difficulty_level text,
    tags text[] not null default '{}',
    expected_tools jsonb,
    is_active boolean not null default true,
    estimated_duration_ms bigint,
    dataset text,
    source_id text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    search_vector tsvector not null generated always as (
        to_tsvector('pg_catalog.english', left(name || ' ' || coalesce(task_prompt, ''), 65536))
        || to_tsvector('pg_catalog.simple', left(name || ' ' || coalesce(task_prompt, ''), 65536))
    ) stored,
    constraint scenarios_pkey primary key (project_id, scenario_id),
    constraint valid_scenario_id check (scenario_id ~ '^[a-z0-9_][a-z0-9_.:/-]{0,199}$'),
    constraint scenario_name_check check (name ~ '^[^[:cntrl:]]{1,200}$'),
    constraint task_prompt_is_not_empty check (task_prompt <> ''),
    constraint difficulty_level_check check (difficulty_level in ('easy', 'medium', 'hard')),
    constraint tags_are_at_most_20 check (cardinality(tags) <= 20),
    constraint estimated_duration_is_positive check (estimated_duration_ms > 0)
);
create index if not exists scenarios_search on raw.scenarios using gin (project_id, search_vector);
create index if not exists scenarios_tags on raw.scenarios using gin (project_id, tags);

create table if not exists raw.simulations (
    project_id text not null,
    simulation_id uuid not null default gen_random_uuid(),
    config_version_id uuid not null,
    simulation_name text,
    status text not null default 'pending',
    overall_score_raw numeric,
    score_scale app.score_scale not null default '[0,1]',
    overall_score numeric generated always as (app.normalised_score(overall_score_raw, score_scale, 'maximize')) stored,
    execution_time_ms bigint,
    total_cost_usd numeric,
    metadata jsonb not null default '{}',
    timeout_ms bigint,
    max_retries integer,
    priority integer not null default 5,
    source text not null,
    source_key text not null,
    started_at timestamptz,
    completed_at timestamptz,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint simulations_pkey primary key (project_id, simulation_id),
    constraint simulations_source_key unique (project_id, source, source_key),
    constraint simulations_config_version_fkey foreign key (project_id, config_version_id)
    references raw.config_versions (project_id, version_id),
    constraint simulation_name_check check (length(simulation_name) <= 200),
    constraint simulation_status_check check (status in ('pending', 'running', 'completed', 'failed', 'cancelled')),
    constraint overall_score_is_on_its_scale check (score_scale::numrange @> overall_score_raw and overall_score_raw <> 'NaN'),
    constraint simulation_amounts_are_not_negative check (
        execution_time_ms >= 0 and total_cost_usd >= 0 and timeout_ms > 0 and max_retries >= 0
    ),
    constraint priority_range check (priority between 1 and 10),
    -- A failed or cancelled run may end without saying when; only a run that ended has an end.
    constraint valid_completion check (
        case status
            when 'completed' then completed_at is not null
            when 'pending' then completed_at is null
            when 'running' then completed_at is null
            else true
        end
    ),
    constraint simulation_ends_after_its_start check (completed_at >= started_at)
);
create index if not exists simulations_unfinished on raw.simulations (project_id, status, priority desc)
where status in ('pending', 'running');
create index if not exists simulations_by_config_version
on raw.simulations (project_id, config_version_id, created_at desc) include (status, overall_score, total_cost_usd);
create index if not exists simulations_by_completion on raw.simulations (project_id, completed_at desc)
include (overall_score, total_cost_usd) where status = 'completed';
create index if not exists simulations_metadata on raw.simulations using gin (project_id, metadata jsonb_path_ops);

create table if not exists raw.simulation_scenarios (
    project_id text not null,
    simulation_id uuid not null,
    scenario_id text not null,
    execution_order integer not null,
    status text not null default 'pending',
    retry_count integer not null default 0,
    constraint simulation_scenarios_pkey primary key (project_id, simulation_id, scenario_id),
    constraint simulation_scenarios_order_key unique (project_id, simulation_id, execution_order),
    constraint simulation_scenarios_simulation_fkey foreign key (project_id, simulation_id)
    references raw.simulations (project_id, simulation_id) on delete cascade,
    constraint simulation_scenarios_scenario_fkey foreign key (project_id, scenario_id)
    references raw.scenarios (project_id, scenario_id),
    constraint simulation_scenario_status_check
    check (status in ('pending', 'running', 'completed', 'failed', 'cancelled')),
    constraint simulation_scenario_counts check (execution_order > 0 and retry_count >= 0)
);
create index if not exists simulation_scenarios_by_scenario on raw.simulation_scenarios (project_id, scenario_id);

create table if not exists raw.outcomes (
    project_id text not null,
    outcome_id uuid not null default gen_random_uuid(),
    execution_time timestamptz not null,
    simulation_id uuid not null,
    scenario_id text not null,
    epoch integer not null default 1,
    status text not null,
    score_raw numeric,
    score_scale app.score_scale not null default '[0,1]',
    reliability_score numeric generated always as (app.normalised_score(score_raw, score_scale, 'maximize')) stored,
    is_passed boolean,
    execution_time_ms double precision,
    model text,
    tokens_used bigint,
    input_tokens bigint,
    cache_read_tokens bigint,
    cache_creation_tokens bigint,
    output_tokens bigint,
    cost_usd numeric,
    cost_status text not null default 'unpriced',
    step_count integer,
    trajectory jsonb not null,
    metrics jsonb not null default '{}',
    retry_count integer not null default 0,
    error_code text,
    sandbox_id text,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint outcomes_pkey primary key (project_id, outcome_id, execution_time),
    constraint outcomes_simulation_scenario_fkey foreign key (project_id, simulation_id, scenario_id)
    references raw.simulation_scenarios (project_id, simulation_id, scenario_id) on delete cascade,
    constraint outcome_status_check check (status in ('success', 'error', 'timeout', 'cancelled')),
    constraint outcome_score_is_on_its_scale check (score_scale::numrange @> score_raw and score_raw <> 'NaN'),
    constraint outcome_amounts_are_not_negative check (
        epoch > 0 and execution_time_ms >= 0 and tokens_used >= 0 and input_tokens >= 0 and cache_read_tokens >= 0
        and cache_creation_tokens >= 0 and output_tokens >= 0 and cost_usd >= 0 and step_count >= 0 and retry_count >= 0
    ),
    constraint outcome_cost_status_check check (cost_status in ('reported', 'computed', 'partial', 'unpriced')),
    constraint unpriced_is_not_free check ((cost_status = 'unpriced') = (cost_usd is null)),
    constraint valid_trajectory check (
        jsonb_typeof(trajectory) = 'object' and trajectory ? 'start_time' and trajectory ? 'status'
    )
) partition by range (execution_time);
create index if not exists outcomes_by_simulation
on raw.outcomes (project_id, simulation_id, scenario_id, epoch) include (status);
create index if not exists outcomes_by_scenario on raw.outcomes (project_id, scenario_id, execution_time desc)
include (status, reliability_score, execution_time_ms, cost_usd);
create index if not exists outcomes_failed on raw.outcomes (project_id, execution_time desc)
include (scenario_id, reliability_score) where status in ('error', 'timeout');
create index if not exists outcomes_metrics on raw.outcomes using gin (project_id, metrics jsonb_path_ops);

create table if not exists raw.tool_usage (
    project_id text not null,
    outcome_id uuid not null,
    execution_time timestamptz not null,
    call_number integer not null,
    tool_name text not null,
    status text not null,
    started_at timestamptz,
    duration_ms double precision,
    cost_usd numeric,
    error_type text,
    error_message text,
    created_at timestamptz not null default now(),
    constraint tool_usage_pkey primary key (project_id, outcome_id, execution_time, call_number),
    constraint tool_usage_outcome_fkey foreign key (project_id, outcome_id, execution_time)
    references raw.outcomes (project_id, outcome_id, execution_time) on delete cascade,
    constraint tool_usage_status_check check (status in ('ok', 'error', 'unanswered')),
    constraint tool_usage_amounts check (call_number > 0 and duration_ms >= 0 and cost_usd >= 0),
    constraint only_errors_have_an_error check (status = 'error' or (error_type is null and error_message is null))
) partition by range (execution_time);
create index if not exists tool_usage_by_tool on raw.tool_usage (project_id, tool_name, execution_time desc)
include (status, duration_ms);

create table if not exists raw.failure_patterns (
    project_id text not null,
    pattern_id uuid not null default gen_random_uuid(),
    outcome_id uuid not null,
    execution_time timestamptz not null,
    failure_type text not null,
    failure_category text not null,
    error_message text,
    error_template text,
    cluster_id text,
    cluster_confidence double precision,
    recovery_attempted boolean not null default false,
    recovery_successful boolean not null default false,
    resolution_steps text,
    created_at timestamptz not null default now(),
    search_vector tsvector not null generated always as (
        to_tsvector('pg_catalog.simple', failure_type || ' ' || coalesce(error_message, ''))
    ) stored,
    constraint failure_patterns_pkey primary key (project_id, pattern_id, execution_time),
    constraint failure_patterns_outcome_fkey foreign key (project_id, outcome_id, execution_time)
    references raw.outcomes (project_id, outcome_id, execution_time) on delete cascade,
    constraint failure_category_check check (
        failure_category in ('timeout', 'tool_error', 'model_error', 'validation_error', 'system_error', 'unknown')
    ),
    constraint error_texts_are_short check (
        length(failure_type) <= 200 and length(error_message) <= 10000 and length(error_template) <= 10000
    ),
    constraint cluster_confidence_range check (cluster_confidence between 0 and 1),
    constraint valid_recovery check (recovery_attempted or not recovery_successful)
) partition by range (execution_time);
create index if not exists failure_patterns_by_outcome
on raw.failure_patterns (project_id, outcome_id, execution_time);
create index if not exists failure_patterns_by_cluster
on raw.failure_patterns (project_id, cluster_id, execution_time desc);
create index if not exists failure_patterns_search on raw.failure_patterns using gin (project_id, search_vector);
create index if not exists failure_patterns_template
on raw.failure_patterns using gin (project_id, error_template public.gin_trgm_ops);

create table if not exists raw.recommendations (
    project_id text not null,
    recommendation_id uuid not null default gen_random_uuid(),
    simulation_id uuid,
    outcome_id uuid,
    pattern_id uuid,
    execution_time timestamptz,
    diff_id uuid,
    scenario_id text,
    source_type text not null generated always as (
        case
            when simulation_id is not null then 'simulation'
            when outcome_id is not null then 'outcome'
            when diff_id is not null then 'config_diff'
            when scenario_id is not null then 'scenario'
            else 'pattern_analysis'
        end
    ) stored,
    recommendation_type text not null,
    description text not null,
    suggested_yaml_changes text,
    impact_estimate jsonb,
    confidence double precision not null,
    applied boolean not null default false,
    applied_at timestamptz,
    applied_by text,
    feedback_score integer,
    created_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint recommendations_pkey primary key (project_id, recommendation_id),
    constraint recommendations_simulation_fkey foreign key (project_id, simulation_id)
    references raw.simulations (project_id, simulation_id) on delete cascade,
    constraint recommendations_outcome_fkey foreign key (project_id, outcome_id, execution_time)
    references raw.outcomes (project_id, outcome_id, execution_time) on delete cascade,
    constraint recommendations_pattern_fkey foreign key (project_id, pattern_id, execution_time)
    references raw.failure_patterns (project_id, pattern_id, execution_time) on delete cascade,
    constraint recommendations_diff_fkey foreign key (project_id, diff_id)
    references raw.config_diffs (project_id, diff_id) on delete cascade,
    constraint recommendations_scenario_fkey foreign key (project_id, scenario_id)
    references raw.scenarios (project_id, scenario_id) on delete cascade,
    constraint exactly_one_source check (
        num_nonnulls(simulation_id, outcome_id, pattern_id, diff_id, scenario_id) = 1
        and (execution_time is null) = (outcome_id is null and pattern_id is null)
    ),
    constraint recommendation_type_check check (
        recommendation_type in ('config_change', 'scenario_addition', 'tool_optimization', 'performance_tuning')
    ),
    constraint description_check check (length(description) >= 10),
    constraint confidence_range check (confidence between 0 and 1),
    constraint valid_application check (applied = (applied_at is not null) and (applied or applied_by is null)),
    constraint feedback_score_range check (feedback_score between 1 and 5)
);
create index if not exists recommendations_pending
on raw.recommendations (project_id, confidence desc, created_at desc) where not applied;
create index if not exists recommendations_by_simulation on raw.recommendations (project_id, simulation_id)
where simulation_id is not null;
create index if not exists recommendations_by_outcome on raw.recommendations (project_id, outcome_id)
where outcome_id is not null;
create index if not exists recommendations_by_pattern on raw.recommendations (project_id, pattern_id)
where pattern_id is not null;

reset role;
