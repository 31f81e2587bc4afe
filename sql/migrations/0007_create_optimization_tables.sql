-- A run, its iterations and their samples form one tree: keys begin with project_id and run down it, so a row can
-- neither belong to another project's run nor outlive its own. Scores are kept as the optimizer gave them, beside the
-- scale they are on; what is normalised is computed here, never written.
set local lock_timeout = '5s';

do $$
begin
    if not exists (select from pg_extension where extname = 'btree_gin') then
        raise exception 'the extension btree_gin is missing: install it (CREATE EXTENSION btree_gin) and migrate again';
    end if;
end
$$;

set local role tracemill_owner;

do $$
begin
    create domain app.score_scale as numrange default '[0,1]' check (
        not isempty(value)
        and (lower(value) < upper(value)) is not false
        and (lower_inf(value) or lower(value) > '-Infinity')
        and (upper_inf(value) or upper(value) < 'Infinity')
    );
exception
    when duplicate_object then null;
end
$$;
comment on domain app.score_scale is 'Smallest and largest score possible: [0,1], [0,100] for percentages, (,) where the metric knows no bounds.';

create or replace function app.normalised_score(score_raw numeric, score_scale numrange, score_direction text)
returns numeric
language sql immutable parallel safe
return case
    when score_scale @> score_raw and score_direction = 'minimize'
        then (upper(score_scale) - score_raw) / nullif(upper(score_scale) - lower(score_scale), 0)
    when score_scale @> score_raw
        then (score_raw - lower(score_scale)) / nullif(upper(score_scale) - lower(score_scale), 0)
end;
comment on function app.normalised_score is 'Score on 0..1 where 1 is the best possible; NULL where the scale has no bounds or the score lies outside them.';
grant execute on function app.normalised_score(numeric, numrange, text)
to tracemill_ingest, tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly;

create or replace function app.elapsed_ms(started_at timestamptz, ended_at timestamptz) returns bigint
language sql immutable parallel safe
return case
    when isfinite(started_at) and isfinite(ended_at) then (extract(epoch from ended_at - started_at) * 1000)::bigint
end;
comment on function app.elapsed_ms is 'Milliseconds from start to end, rounded; NULL while either is unknown.';
grant execute on function app.elapsed_ms(timestamptz, timestamptz)
to tracemill_ingest, tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly;

-- Every iteration updates its run's statistics: room in the page keeps these updates away from the indexes.
create table if not exists raw.optimization_runs (
    project_id text not null,
    id uuid not null default gen_random_uuid(),
    source text not null default 'sql',
    source_key text not null default gen_random_uuid()::text,
    source_file_key text,
    run_name text not null,
    optimizer_type text not null,
    status text not null default 'pending',
    config jsonb not null default '{}',
    search_space jsonb,
    optimizer text generated always as (coalesce(config ->> 'optimizer', optimizer_type)) stored,
    model text generated always as (
        coalesce(config #>> '{model_config,model}', config #>> '{miprov2,task_model}', config ->> 'model')
    ) stored,
    metric text generated always as (coalesce(config ->> 'metric', config #>> '{miprov2,metric}')) stored,
    task text,
    dataset_hash text,
    start_time timestamptz,
    end_time timestamptz,
    duration_ms bigint generated always as (app.elapsed_ms(start_time, end_time)) stored,
    score_scale app.score_scale not null default '[0,1]',
    score_direction text not null default 'maximize',
    evaluation_kind text not null default 'full',
    initial_score_raw numeric,
    final_score_raw numeric,
    initial_score numeric generated always as (
        app.normalised_score(initial_score_raw, score_scale, score_direction)
    ) stored,
    final_score numeric generated always as (
        app.normalised_score(final_score_raw, score_scale, score_direction)
    ) stored,
    improvement_raw numeric generated always as (
        case score_direction when 'minimize' then -1 else 1 end * (final_score_raw - initial_score_raw)
    ) stored,
    improvement numeric generated always as (
        app.normalised_score(final_score_raw, score_scale, score_direction)
        - app.normalised_score(initial_score_raw, score_scale, score_direction)
    ) stored,
    improvement_pct numeric generated always as (
        case score_direction when 'minimize' then -100 else 100 end
        * (final_score_raw - initial_score_raw) / nullif(abs(initial_score_raw), 0)
    ) stored,
    normalised_gain numeric generated always as (
        (
            app.normalised_score(final_score_raw, score_scale, score_direction)
            - app.normalised_score(initial_score_raw, score_scale, score_direction)
        ) / nullif(1 - app.normalised_score(initial_score_raw, score_scale, score_direction), 0)
    ) stored,
    iterations bigint not null default 0,
    full_evaluations bigint not null default 0,
    best_iteration integer,
    best_evaluation_kind text,
    best_score_raw numeric,
    timed_iterations bigint not null default 0,
    iteration_ms bigint not null default 0,
    iteration_tokens bigint not null default 0,
    unpriced_iterations bigint not null default 0,
    iteration_cost_usd numeric not null default 0,
    reported_iterations bigint,
    reported_best_score_raw numeric,
    reported_tokens bigint,
    reported_cost_usd numeric,
    best_score numeric generated always as (
        app.normalised_score(coalesce(best_score_raw, reported_best_score_raw), score_scale, score_direction)
    ) stored,
    avg_iteration_ms numeric generated always as (iteration_ms::numeric / nullif(timed_iterations, 0)) stored,
    total_tokens bigint generated always as (greatest(iteration_tokens, reported_tokens)) stored,
    total_cost_usd numeric generated always as (
        greatest(reported_cost_usd, case when iterations > unpriced_iterations then iteration_cost_usd end)
    ) stored,
    avg_latency_ms numeric,
    samples_evaluated bigint,
    successful_samples bigint,
    failed_samples bigint,
    best_params jsonb,
    best_program jsonb,
    final_program jsonb,
    program_hash text,
    evaluation_results jsonb,
    error_message text,
    error_stack text,
    metadata jsonb not null default '{}',
    tags text[] not null default '{}',
    created_at timestamptz not null default now(),
    ingested_at timestamptz not null default now(),
    updated_at timestamptz not null default now(),
    constraint optimization_runs_pkey primary key (project_id, id),
    constraint optimization_runs_source_key unique (project_id, source, source_key),
    constraint optimization_runs_scoring_key unique (project_id, id, score_scale, score_direction),
    constraint optimization_runs_project_fkey foreign key (project_id) references app.project_config (project_id),
    constraint optimization_runs_status_check
    check (status in ('pending', 'running', 'completed', 'failed', 'cancelled')),
    constraint optimization_runs_optimizer_type_is_a_slug check (optimizer_type ~ '^[a-z0-9][a-z0-9_.-]{0,99}$'),
    constraint optimization_runs_name_is_not_empty check (run_name <> ''),
    constraint optimization_runs_direction_check check (score_direction in ('maximize', 'minimize')),
    constraint optimization_runs_evaluation_kind_check check (evaluation_kind in ('full', 'minibatch')),
    constraint optimization_runs_documents_are_objects
    check (jsonb_typeof(config) = 'object' and jsonb_typeof(metadata) = 'object'),
    constraint optimization_runs_tags_are_not_null check (array_position(tags, null) is null),
    constraint optimization_runs_end_after_start
    check (end_time >= start_time and isfinite(start_time) and isfinite(end_time)),
    constraint optimization_runs_scores_are_numbers check (
        initial_score_raw > '-Infinity' and initial_score_raw < 'Infinity'
        and final_score_raw > '-Infinity' and final_score_raw < 'Infinity'
        and reported_best_score_raw > '-Infinity' and reported_best_score_raw < 'Infinity'
    ),
    constraint optimization_runs_reports_are_not_negative check (
        reported_iterations >= 0 and reported_tokens >= 0 and reported_cost_usd >= 0 and avg_latency_ms >= 0
        and reported_cost_usd < 'Infinity' and avg_latency_ms < 'Infinity'
    ),
    constraint optimization_runs_sample_counts_add_up check (
        samples_evaluated >= 0 and successful_samples >= 0 and failed_samples >= 0
        and (
            num_nonnulls(successful_samples, failed_samples) = 0
            or coalesce(samples_evaluated >= coalesce(successful_samples, 0) + coalesce(failed_samples, 0), false)
        )
    )
) with (fillfactor = 80);

create index if not exists optimization_runs_by_time on raw.optimization_runs (project_id, created_at desc, id desc);
create index if not exists optimization_runs_by_status
on raw.optimization_runs (project_id, status, created_at desc, id desc);
create index if not exists optimization_runs_by_optimizer
on raw.optimization_runs (project_id, optimizer_type, created_at desc, id desc);
create index if not exists optimization_runs_by_model
on raw.optimization_runs (project_id, model, created_at desc, id desc);
create index if not exists optimization_runs_by_name on raw.optimization_runs (project_id, run_name);
create index if not exists optimization_runs_performance
on raw.optimization_runs (project_id, final_score desc nulls last, created_at desc)
where status = 'completed';
create index if not exists optimization_runs_leaderboard
on raw.optimization_runs (project_id, task, metric, dataset_hash, evaluation_kind, final_score desc nulls last)
where status = 'completed';
create index if not exists optimization_runs_config
on raw.optimization_runs using gin (project_id, config jsonb_path_ops);
create index if not exists optimization_runs_metadata
on raw.optimization_runs using gin (project_id, metadata jsonb_path_ops);
create index if not exists optimization_runs_tags on raw.optimization_runs using gin (project_id, tags);

comment on table raw.optimization_runs is 'One row per optimization run. What is counted from its iterations is kept by triggers and by nobody else; writers that update or delete iterations lock the run first (select … for no key update), so that they do not wait for each other in a circle.';
comment on column raw.optimization_runs.project_id is 'Tenant.';
comment on column raw.optimization_runs.id is 'Run.';
comment on column raw.optimization_runs.source is 'Format or client that the run came from.';
comment on column raw.optimization_runs.source_key is 'Identity of the run in its source: the same run is written once however often it is read.';
comment on column raw.optimization_runs.source_file_key is 'File that gave the row, in ops.ingest_files.';
comment on column raw.optimization_runs.run_name is 'Name for people.';
comment on column raw.optimization_runs.optimizer_type is 'Kind of optimizer: miprov2, gepa, bootstrap, copro, simba, bayesian, grid_search, custom …';
comment on column raw.optimization_runs.status is 'pending, running, completed, failed or cancelled.';
comment on column raw.optimization_runs.config is 'Configuration as given, unknown keys included.';
comment on column raw.optimization_runs.search_space is 'What was searched: parameters and their ranges or choices.';
comment on column raw.optimization_runs.optimizer is 'Optimizer as the configuration names it, else its kind.';
comment on column raw.optimization_runs.model is 'Model that was optimized for, from the configuration.';
comment on column raw.optimization_runs.metric is 'Metric that was optimized, from the configuration.';
comment on column raw.optimization_runs.task is 'Task that the program solves. Runs compare within one task, metric, dataset and evaluation kind.';
comment on column raw.optimization_runs.dataset_hash is 'Hash of the dataset that the scores were measured on.';
comment on column raw.optimization_runs.start_time is 'When the run began, UTC.';
comment on column raw.optimization_runs.end_time is 'When it ended, UTC; NULL while it runs or where the source does not say.';
comment on column raw.optimization_runs.duration_ms is 'Milliseconds from start to end.';
comment on column raw.optimization_runs.score_scale is 'Scale of every raw score of the run and its iterations.';
comment on column raw.optimization_runs.score_direction is 'maximize where a higher score is better, minimize where a lower one is.';
comment on column raw.optimization_runs.evaluation_kind is 'full where the final score was measured on the whole evaluation set, else minibatch.';
comment on column raw.optimization_runs.initial_score_raw is 'Score of the unoptimized program, as given.';
comment on column raw.optimization_runs.final_score_raw is 'Score of the program that the run ended with, as given.';
comment on column raw.optimization_runs.initial_score is 'Initial score on 0..1, 1 the best possible; NULL where its scale does not allow it.';
comment on column raw.optimization_runs.final_score is 'Final score on 0..1, 1 the best possible; NULL where its scale does not allow it.';
comment on column raw.optimization_runs.improvement_raw is 'How much better the final score is than the initial one, in raw units; positive is better in either direction.';
comment on column raw.optimization_runs.improvement is 'The same on 0..1.';
comment on column raw.optimization_runs.improvement_pct is 'Improvement in percent of the initial score; NULL where that is 0.';
comment on column raw.optimization_runs.normalised_gain is 'Share of the possible improvement that was reached: 1 is a perfect final score; NULL where nothing could be improved.';
comment on column raw.optimization_runs.iterations is 'Iterations recorded.';
comment on column raw.optimization_runs.full_evaluations is 'Of these, evaluated on the whole set.';
comment on column raw.optimization_runs.best_iteration is 'Iteration with the best score, the earliest of equals; a minibatch one only where no full evaluation has a score.';
comment on column raw.optimization_runs.best_evaluation_kind is 'How the best iteration was evaluated.';
comment on column raw.optimization_runs.best_score_raw is 'Its score.';
comment on column raw.optimization_runs.timed_iterations is 'Iterations with a duration.';
comment on column raw.optimization_runs.iteration_ms is 'Milliseconds of these in all.';
comment on column raw.optimization_runs.iteration_tokens is 'Tokens of all iterations.';
comment on column raw.optimization_runs.unpriced_iterations is 'Iterations without a cost: where there are any, the total is a lower bound.';
comment on column raw.optimization_runs.iteration_cost_usd is 'USD of the iterations that have a cost.';
comment on column raw.optimization_runs.reported_iterations is 'Iterations as the source sums them up.';
comment on column raw.optimization_runs.reported_best_score_raw is 'Best score as the source sums it up.';
comment on column raw.optimization_runs.reported_tokens is 'Tokens as the source sums them up, calls outside iterations included.';
comment on column raw.optimization_runs.reported_cost_usd is 'USD as the source sums them up.';
comment on column raw.optimization_runs.best_score is 'Best score on 0..1, 1 the best possible: of the recorded iterations, else as reported; NULL where its scale does not allow it.';
comment on column raw.optimization_runs.avg_iteration_ms is 'Mean duration of an iteration in milliseconds.';
comment on column raw.optimization_runs.total_tokens is 'Tokens: the larger of what the iterations add up to and what was reported.';
comment on column raw.optimization_runs.total_cost_usd is 'USD, likewise; NULL where nothing is priced.';
comment on column raw.optimization_runs.avg_latency_ms is 'Mean latency of a model call in milliseconds, as reported.';
comment on column raw.optimization_runs.samples_evaluated is 'Samples evaluated, as reported.';
comment on column raw.optimization_runs.successful_samples is 'Of these, solved.';
comment on column raw.optimization_runs.failed_samples is 'Of these, failed.';
comment on column raw.optimization_runs.best_params is 'Best parameters, as reported.';
comment on column raw.optimization_runs.best_program is 'Best program, as reported.';
comment on column raw.optimization_runs.final_program is 'Program that the run ended with.';
comment on column raw.optimization_runs.program_hash is 'Hash of the final program.';
comment on column raw.optimization_runs.evaluation_results is 'Further results, as reported.';
comment on column raw.optimization_runs.error_message is 'Error that ended the run, redacted.';
comment on column raw.optimization_runs.error_stack is 'Its stack trace, redacted.';
comment on column raw.optimization_runs.metadata is 'Anything else the source holds.';
comment on column raw.optimization_runs.tags is 'Labels.';
comment on column raw.optimization_runs.created_at is 'When the run was created, as its source says.';
comment on column raw.optimization_runs.ingested_at is 'When the row was first written.';
comment on column raw.optimization_runs.updated_at is 'When it last changed.';

create table if not exists raw.optimization_iterations (
    project_id text not null,
    run_id uuid not null,
    iteration integer not null,
    id uuid not null default gen_random_uuid(),
    evaluation_kind text not null default 'full',
    score_raw numeric,
    score_scale app.score_scale not null default '[0,1]',
    score_direction text not null default 'maximize',
    score numeric generated always as (app.normalised_score(score_raw, score_scale, score_direction)) stored,
    is_best boolean not null default false,
    candidate_key text,
    parent_iterations integer[] not null default '{}',
    program_hash text,
    params jsonb not null default '{}',
    program jsonb,
    samples_in_iteration bigint,
    successful_samples bigint,
    avg_score numeric,
    std_dev numeric,
    metric_calls_so_far bigint,
    iteration_start_time timestamptz,
    iteration_end_time timestamptz,
    duration_ms bigint generated always as (app.elapsed_ms(iteration_start_time, iteration_end_time)) stored,
    tokens_used bigint,
    cost_usd numeric,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    ingested_at timestamptz not null default now(),
    constraint optimization_iterations_pkey primary key (project_id, run_id, iteration),
    constraint optimization_iterations_id_key unique (project_id, id),
    -- An iteration is scored as its run is, or the best of a run would mean nothing.
    constraint optimization_iterations_run_fkey
    foreign key (project_id, run_id, score_scale, score_direction)
    references raw.optimization_runs (project_id, id, score_scale, score_direction)
    on update cascade on delete cascade,
    constraint optimization_iterations_number_is_not_negative check (iteration >= 0),
    constraint optimization_iterations_evaluation_kind_check check (evaluation_kind in ('full', 'minibatch')),
    constraint optimization_iterations_score_is_a_number
    check (score_raw > '-Infinity' and score_raw < 'Infinity'),
    constraint optimization_iterations_descend_from_earlier_ones
    check (array_position(parent_iterations, null) is null and iteration > all(parent_iterations)),
    constraint optimization_iterations_documents_are_objects
    check (jsonb_typeof(params) = 'object' and jsonb_typeof(metadata) = 'object'),
    constraint optimization_iterations_end_after_start check (
        iteration_end_time >= iteration_start_time
        and isfinite(iteration_start_time) and isfinite(iteration_end_time)
    ),
    constraint optimization_iterations_amounts_are_not_negative check (
        tokens_used >= 0 and cost_usd >= 0 and cost_usd < 'Infinity' and std_dev >= 0 and metric_calls_so_far >= 0
    ),
    constraint optimization_iterations_sample_counts_add_up check (
        samples_in_iteration >= 0 and successful_samples >= 0
        and (successful_samples is null or coalesce(successful_samples <= samples_in_iteration, false))
    )
);

create unique index if not exists optimization_iterations_best
on raw.optimization_iterations (project_id, run_id) where is_best;
create index if not exists optimization_iterations_params
on raw.optimization_iterations using gin (project_id, params jsonb_path_ops);

comment on table raw.optimization_iterations is 'One row per evaluation of a candidate within a run: a trial, a step, a candidate program.';
comment on column raw.optimization_iterations.project_id is 'Tenant.';
comment on column raw.optimization_iterations.run_id is 'Run.';
comment on column raw.optimization_iterations.iteration is 'Number within the run, in order; gaps are allowed.';
comment on column raw.optimization_iterations.id is 'Iteration.';
comment on column raw.optimization_iterations.evaluation_kind is 'full (the whole evaluation set) or minibatch (a part of it): their scores do not compare.';
comment on column raw.optimization_iterations.score_raw is 'Score as given; NULL where unscored.';
comment on column raw.optimization_iterations.score_scale is 'Scale of the score, the run''s.';
comment on column raw.optimization_iterations.score_direction is 'maximize or minimize, the run''s.';
comment on column raw.optimization_iterations.score is 'Score on 0..1, 1 the best possible; NULL where its scale does not allow it.';
comment on column raw.optimization_iterations.is_best is 'Whether this is the run''s best_iteration; kept by triggers.';
comment on column raw.optimization_iterations.candidate_key is 'Candidate as the optimizer names it: its minibatch and full evaluations share the key.';
comment on column raw.optimization_iterations.parent_iterations is 'Iterations of the same run whose candidates this one was made from.';
comment on column raw.optimization_iterations.program_hash is 'Hash of the program evaluated: the same program has the same hash.';
comment on column raw.optimization_iterations.params is 'Parameters tried.';
comment on column raw.optimization_iterations.program is 'Program or prompts evaluated.';
comment on column raw.optimization_iterations.samples_in_iteration is 'Samples evaluated.';
comment on column raw.optimization_iterations.successful_samples is 'Of these, solved.';
comment on column raw.optimization_iterations.avg_score is 'Mean score of the samples as reported, in raw units.';
comment on column raw.optimization_iterations.std_dev is 'Standard deviation of the same.';
comment on column raw.optimization_iterations.metric_calls_so_far is 'Metric calls spent by the run when the iteration was done.';
comment on column raw.optimization_iterations.iteration_start_time is 'When it began, UTC.';
comment on column raw.optimization_iterations.iteration_end_time is 'When it ended, UTC.';
comment on column raw.optimization_iterations.duration_ms is 'Milliseconds from start to end.';
comment on column raw.optimization_iterations.tokens_used is 'Tokens used; NULL where unknown.';
comment on column raw.optimization_iterations.cost_usd is 'USD; NULL where unpriced.';
comment on column raw.optimization_iterations.metadata is 'Anything else the source holds.';
comment on column raw.optimization_iterations.created_at is 'When the iteration was made, as its source says.';
comment on column raw.optimization_iterations.ingested_at is 'When the row was first written.';

create table if not exists raw.optimization_samples (
    project_id text not null,
    run_id uuid not null,
    iteration integer not null,
    sample_index integer not null,
    id uuid not null default gen_random_uuid(),
    sample_key text,
    input jsonb,
    predicted_output jsonb,
    expected_output jsonb,
    score_raw numeric,
    score_scale app.score_scale not null default '[0,1]',
    score numeric generated always as (app.normalised_score(score_raw, score_scale, 'maximize')) stored,
    is_correct boolean,
    program_hash text,
    latency_ms bigint,
    tokens_used bigint,
    cost_usd numeric,
    error_message text,
    metadata jsonb not null default '{}',
    created_at timestamptz not null default now(),
    ingested_at timestamptz not null default now(),
    constraint optimization_samples_pkey primary key (project_id, run_id, iteration, sample_index),
    constraint optimization_samples_id_key unique (project_id, id),
    constraint optimization_samples_iteration_fkey foreign key (project_id, run_id, iteration)
    references raw.optimization_iterations (project_id, run_id, iteration) on update cascade on delete cascade,
    constraint optimization_samples_index_is_not_negative check (sample_index >= 0),
    constraint optimization_samples_score_is_a_number check (score_raw > '-Infinity' and score_raw < 'Infinity'),
    constraint optimization_samples_metadata_is_an_object check (jsonb_typeof(metadata) = 'object'),
    constraint optimization_samples_amounts_are_not_negative check (
        latency_ms >= 0 and tokens_used >= 0 and cost_usd >= 0 and cost_usd < 'Infinity'
    )
);

create index if not exists optimization_samples_by_program
on raw.optimization_samples (project_id, program_hash) where program_hash is not null;

comment on table raw.optimization_samples is 'One row per sample evaluated in an iteration.';
comment on column raw.optimization_samples.project_id is 'Tenant.';
comment on column raw.optimization_samples.run_id is 'Run.';
comment on column raw.optimization_samples.iteration is 'Iteration of that run.';
comment on column raw.optimization_samples.sample_index is 'Number within the iteration, from 0.';
comment on column raw.optimization_samples.id is 'Sample.';
comment on column raw.optimization_samples.sample_key is 'Example as its dataset names it: the same example in several iterations shares the key.';
comment on column raw.optimization_samples.input is 'What the program was given, redacted.';
comment on column raw.optimization_samples.predicted_output is 'What it answered, redacted.';
comment on column raw.optimization_samples.expected_output is 'What was expected, redacted.';
comment on column raw.optimization_samples.score_raw is 'Score as the metric gave it; NULL where unscored.';
comment on column raw.optimization_samples.score_scale is 'Scale of the score: of one sample, so not always the run''s.';
comment on column raw.optimization_samples.score is 'Score on 0..1, 1 the best possible; NULL where its scale does not allow it.';
comment on column raw.optimization_samples.is_correct is 'Whether the answer counts as right; NULL where nobody said.';
comment on column raw.optimization_samples.program_hash is 'Hash of the program that answered.';
comment on column raw.optimization_samples.latency_ms is 'Milliseconds to the answer.';
comment on column raw.optimization_samples.tokens_used is 'Tokens used; NULL where unknown.';
comment on column raw.optimization_samples.cost_usd is 'USD; NULL where unpriced.';
comment on column raw.optimization_samples.error_message is 'Error instead of an answer, redacted.';
comment on column raw.optimization_samples.metadata is 'Anything else the source holds.';
comment on column raw.optimization_samples.created_at is 'When the sample was evaluated, as its source says.';
comment on column raw.optimization_samples.ingested_at is 'When the row was first written.';

do $$
declare
    table_name text;
    writable text;
begin
    foreach table_name in array array['optimization_runs', 'optimization_iterations', 'optimization_samples'] loop
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
        execute format('grant select, delete on raw.%I to tracemill_ingest', table_name);
        -- What the triggers keep has no other writer.
        select string_agg(quote_ident(a.attname), ', ') into writable
        from pg_attribute as a
        where a.attrelid = format('raw.%I', table_name)::regclass
            and a.attnum > 0 and not a.attisdropped and a.attgenerated = ''
            and a.attname <> all(array[
                'is_best', 'iterations', 'full_evaluations', 'best_iteration', 'best_evaluation_kind', 'best_score_raw',
                'timed_iterations', 'iteration_ms', 'iteration_tokens', 'unpriced_iterations', 'iteration_cost_usd',
                'updated_at'
            ]);
        execute format('grant insert (%1$s), update (%1$s) on raw.%2$I to tracemill_ingest', writable, table_name);
    end loop;
end
$$;

reset role;
