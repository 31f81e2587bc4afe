-- Statistics of a run follow its iterations, once per statement and whoever writes. Inserting adds to what the run has;
-- updating and deleting count the run anew. A run is locked before it is read, runs in the order of their keys, so
-- concurrent writers of one run queue up. Every plan is kept for the session and must suit one row and a million:
-- transition tables have no indexes, hence whole tables are reached by theirs only.
set local lock_timeout = '5s';
set local role tracemill_owner;

create or replace function ops.set_updated_at() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.updated_at := now();
    return new;
end
$$;
comment on function ops.set_updated_at is 'Trigger: a changed row says when it changed.';

create or replace function ops.unflag_moved_iteration() returns trigger
language plpgsql
set search_path = pg_catalog, pg_temp
as $$
begin
    new.is_best := false;
    return new;
end
$$;
comment on function ops.unflag_moved_iteration is 'Trigger: the best of one run is not yet the best of another.';

create or replace function ops.lock_optimization_runs(project_ids text[], run_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_mergejoin = off set enable_hashjoin = off
as $$
begin
    perform from raw.optimization_runs as r
    join unnest(project_ids, run_ids) as t (project_id, run_id) on r.project_id = t.project_id and r.id = t.run_id
    order by r.project_id, r.id
    for no key update of r;
end
$$;
comment on function ops.lock_optimization_runs is 'Makes other writers of these runs'' statistics wait, in one order for all.';

create or replace function ops.flag_best_iterations(project_ids text[], run_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_mergejoin = off set enable_hashjoin = off
as $$
begin
    -- Two statements: a unique index allows one best at any moment.
    update raw.optimization_iterations as i
    set is_best = false
    from unnest(project_ids, run_ids) as t (project_id, run_id)
    join raw.optimization_runs as r on r.project_id = t.project_id and r.id = t.run_id
    where i.project_id = t.project_id and i.run_id = t.run_id and i.is_best
        and i.iteration is distinct from r.best_iteration;

    update raw.optimization_iterations as i
    set is_best = true
    from unnest(project_ids, run_ids) as t (project_id, run_id)
    join raw.optimization_runs as r on r.project_id = t.project_id and r.id = t.run_id
    where i.project_id = t.project_id and i.run_id = t.run_id and i.iteration = r.best_iteration
        and not i.is_best;
end
$$;
comment on function ops.flag_best_iterations is 'Brings is_best in line with the best_iteration of these runs.';

create or replace function ops.recompute_optimization_statistics(project_ids text[], run_ids uuid[]) returns void
language plpgsql
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_mergejoin = off set enable_hashjoin = off
as $$
begin
    perform ops.lock_optimization_runs(project_ids, run_ids);

    update raw.optimization_runs as r
    set
        iterations = s.iterations,
        full_evaluations = s.full_evaluations,
        best_iteration = b.iteration,
        best_evaluation_kind = b.evaluation_kind,
        best_score_raw = b.score_raw,
        timed_iterations = s.timed_iterations,
        iteration_ms = s.iteration_ms,
        iteration_tokens = s.iteration_tokens,
        unpriced_iterations = s.unpriced_iterations,
        iteration_cost_usd = s.iteration_cost_usd
    from unnest(project_ids, run_ids) as t (project_id, run_id)
    cross join lateral (
        select
            count(*) as iterations,
            count(*) filter (where i.evaluation_kind = 'full') as full_evaluations,
            count(i.duration_ms) as timed_iterations,
            coalesce(sum(i.duration_ms), 0) as iteration_ms,
            coalesce(sum(i.tokens_used), 0) as iteration_tokens,
            count(*) - count(i.cost_usd) as unpriced_iterations,
            coalesce(sum(i.cost_usd), 0) as iteration_cost_usd
        from raw.optimization_iterations as i
        where i.project_id = t.project_id and i.run_id = t.run_id
    ) as s
    left join lateral (
        select i.iteration, i.evaluation_kind, i.score_raw
        from raw.optimization_iterations as i
        where i.project_id = t.project_id and i.run_id = t.run_id and i.score_raw is not null
        order by
            i.evaluation_kind = 'full' desc,
            case i.score_direction when 'minimize' then -i.score_raw else i.score_raw end desc,
            i.iteration
        limit 1
    ) as b on true
    where r.project_id = t.project_id and r.id = t.run_id;

    perform ops.flag_best_iterations(project_ids, run_ids);
end
$$;
comment on function ops.recompute_optimization_statistics is 'Counts the iterations of these runs anew. Needed by hand only after triggers were switched off.';

create or replace function ops.add_inserted_iterations() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_mergejoin = off set enable_hashjoin = off
as $$
declare
    project_ids text[];
    run_ids uuid[];
begin
    select array_agg(t.project_id), array_agg(t.run_id) into project_ids, run_ids
    from (select distinct n.project_id, n.run_id from new_rows as n) as t;
    if run_ids is null then
        return null;
    end if;
    if cardinality(run_ids) > 1 then  -- a single run is locked by its update
        perform ops.lock_optimization_runs(project_ids, run_ids);
    end if;

    with
    ranked as (
        select
            n.project_id,
            n.run_id,
            n.iteration,
            n.evaluation_kind,
            n.score_raw,
            n.duration_ms,
            n.tokens_used,
            n.cost_usd,
            row_number() over (
                partition by n.project_id, n.run_id
                order by
                    n.score_raw is null,
                    n.evaluation_kind = 'full' desc,
                    case n.score_direction when 'minimize' then -n.score_raw else n.score_raw end desc,
                    n.iteration
            ) as place
        from new_rows as n
    ),

    added as (
        select
            k.project_id,
            k.run_id,
            count(*) as iterations,
            count(*) filter (where k.evaluation_kind = 'full') as full_evaluations,
            max(k.iteration) filter (where k.place = 1) as first_iteration,
            max(k.evaluation_kind) filter (where k.place = 1) as first_kind,
            max(k.score_raw) filter (where k.place = 1) as first_score_raw,
            count(k.duration_ms) as timed_iterations,
            coalesce(sum(k.duration_ms), 0) as iteration_ms,
            coalesce(sum(k.tokens_used), 0) as iteration_tokens,
            count(*) - count(k.cost_usd) as unpriced_iterations,
            coalesce(sum(k.cost_usd), 0) as iteration_cost_usd
        from ranked as k
        group by k.project_id, k.run_id
    ),

    improved as (
        update raw.optimization_runs as r
        set
            iterations = r.iterations + a.iterations,
            full_evaluations = r.full_evaluations + a.full_evaluations,
            (best_iteration, best_evaluation_kind, best_score_raw) = (
                select c.iteration, c.evaluation_kind, c.score_raw
                from (
                    values
                    (r.best_iteration, r.best_evaluation_kind, r.best_score_raw),
                    (a.first_iteration, a.first_kind, a.first_score_raw)
                ) as c (iteration, evaluation_kind, score_raw)
                where c.score_raw is not null
                order by
                    c.evaluation_kind = 'full' desc,
                    case r.score_direction when 'minimize' then -c.score_raw else c.score_raw end desc,
                    c.iteration
                limit 1
            ),
            timed_iterations = r.timed_iterations + a.timed_iterations,
            iteration_ms = r.iteration_ms + a.iteration_ms,
            iteration_tokens = r.iteration_tokens + a.iteration_tokens,
            unpriced_iterations = r.unpriced_iterations + a.unpriced_iterations,
            iteration_cost_usd = r.iteration_cost_usd + a.iteration_cost_usd
        from added as a
        where r.project_id = a.project_id and r.id = a.run_id
        returning r.project_id, r.id, r.best_iteration = a.first_iteration as is_improved
    )

    select array_agg(i.project_id), array_agg(i.id) into project_ids, run_ids from improved as i where i.is_improved;
    if run_ids is not null then
        perform ops.flag_best_iterations(project_ids, run_ids);
    end if;
    return null;
end
$$;
comment on function ops.add_inserted_iterations is 'Trigger: adds the statement''s iterations to the statistics of their runs.';

create or replace function ops.recount_updated_iterations() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    project_ids text[];
    run_ids uuid[];
begin
    -- Rows that differ in nothing counted cancel out, the trigger's own change of is_best among them.
    with
    counted_before as (
        select
            project_id, run_id, iteration, evaluation_kind, score_raw, score_direction, duration_ms, tokens_used, cost_usd
        from old_rows
    ),

    counted_after as (
        select
            project_id, run_id, iteration, evaluation_kind, score_raw, score_direction, duration_ms, tokens_used, cost_usd
        from new_rows
    ),

    changed as (
        (table counted_before except table counted_after)
        union
        (table counted_after except table counted_before)
    )

    select array_agg(t.project_id), array_agg(t.run_id) into project_ids, run_ids
    from (select distinct c.project_id, c.run_id from changed as c) as t;
    if run_ids is not null then
        perform ops.recompute_optimization_statistics(project_ids, run_ids);
    end if;
    return null;
end
$$;
comment on function ops.recount_updated_iterations is 'Trigger: counts the runs anew whose iterations the statement changed.';

create or replace function ops.recount_deleted_iterations() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    project_ids text[];
    run_ids uuid[];
begin
    select array_agg(t.project_id), array_agg(t.run_id) into project_ids, run_ids
    from (select distinct o.project_id, o.run_id from old_rows as o) as t;
    if run_ids is not null then
        perform ops.recompute_optimization_statistics(project_ids, run_ids);
    end if;
    return null;
end
$$;
comment on function ops.recount_deleted_iterations is 'Trigger: counts the runs anew whose iterations the statement deleted.';

create or replace function ops.recount_truncated_iterations() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    project_ids text[];
    run_ids uuid[];
begin
    select array_agg(r.project_id), array_agg(r.id) into project_ids, run_ids
    from raw.optimization_runs as r
    where r.iterations > 0;
    if run_ids is not null then
        perform ops.recompute_optimization_statistics(project_ids, run_ids);
    end if;
    return null;
end
$$;
comment on function ops.recount_truncated_iterations is 'Trigger: no run has iterations any more.';

create or replace trigger optimization_runs_updated_at
before update on raw.optimization_runs for each row execute function ops.set_updated_at();
create or replace trigger optimization_iterations_moved
before update of project_id, run_id on raw.optimization_iterations for each row
when (old.is_best and (old.project_id, old.run_id) is distinct from (new.project_id, new.run_id))
execute function ops.unflag_moved_iteration();
create or replace trigger optimization_iterations_inserted
after insert on raw.optimization_iterations referencing new table as new_rows
for each statement execute function ops.add_inserted_iterations();
create or replace trigger optimization_iterations_updated
after update on raw.optimization_iterations referencing old table as old_rows new table as new_rows
for each statement execute function ops.recount_updated_iterations();
create or replace trigger optimization_iterations_deleted
after delete on raw.optimization_iterations referencing old table as old_rows
for each statement execute function ops.recount_deleted_iterations();
create or replace trigger optimization_iterations_truncated
after truncate on raw.optimization_iterations
for each statement execute function ops.recount_truncated_iterations();

create or replace function app.get_optimization_run_summary(run_id uuid)
returns table (
    project_id text,
    id uuid,
    run_name text,
    optimizer_type text,
    optimizer text,
    model text,
    metric text,
    task text,
    status text,
    start_time timestamptz,
    end_time timestamptz,
    duration_ms bigint,
    score_scale text,
    initial_score numeric,
    final_score numeric,
    final_score_raw numeric,
    best_score numeric,
    best_score_raw numeric,
    best_iteration integer,
    best_evaluation_kind text,
    improvement numeric,
    improvement_pct numeric,
    normalised_gain numeric,
    iterations bigint,
    full_evaluations bigint,
    samples_recorded bigint,
    samples_correct bigint,
    total_tokens bigint,
    total_cost_usd numeric,
    is_cost_complete boolean,
    error_message text,
    created_at timestamptz,
    updated_at timestamptz
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select
        r.project_id, r.id, r.run_name, r.optimizer_type, r.optimizer, r.model, r.metric, r.task, r.status,
        r.start_time, r.end_time, r.duration_ms, r.score_scale::text, r.initial_score, r.final_score,
        r.final_score_raw, r.best_score, r.best_score_raw, r.best_iteration, r.best_evaluation_kind, r.improvement,
        r.improvement_pct, r.normalised_gain, r.iterations, r.full_evaluations, s.recorded, s.correct, r.total_tokens,
        r.total_cost_usd, r.total_cost_usd is not null and r.unpriced_iterations = 0, r.error_message, r.created_at,
        r.updated_at
    from raw.optimization_runs as r
    cross join lateral (
        select count(*) as recorded, count(*) filter (where e.is_correct) as correct
        from raw.optimization_samples as e
        where e.project_id = r.project_id and e.run_id = r.id
    ) as s
    where r.id = get_optimization_run_summary.run_id
$$;
comment on function app.get_optimization_run_summary is 'One row about one run; none where the caller may not see it. is_cost_complete is false where the cost is a lower bound or unknown.';

create or replace function app.get_top_runs_by_score(
    project_id text,
    max_runs integer default 10,
    task text default null,
    metric text default null,
    dataset_hash text default null
)
returns table (
    id uuid,
    run_name text,
    optimizer_type text,
    model text,
    task text,
    metric text,
    dataset_hash text,
    final_score numeric,
    final_score_raw numeric,
    improvement numeric,
    duration_ms bigint,
    total_cost_usd numeric,
    created_at timestamptz
)
language sql stable
set search_path = pg_catalog, pg_temp
as $$
    select
        r.id, r.run_name, r.optimizer_type, r.model, r.task, r.metric, r.dataset_hash, r.final_score,
        r.final_score_raw, r.improvement, r.duration_ms, r.total_cost_usd, r.created_at
    from raw.optimization_runs as r
    where r.project_id = get_top_runs_by_score.project_id
        and r.status = 'completed'
        and r.evaluation_kind = 'full'
        and r.final_score is not null
        and (get_top_runs_by_score.task is null or r.task = get_top_runs_by_score.task)
        and (get_top_runs_by_score.metric is null or r.metric = get_top_runs_by_score.metric)
        and (get_top_runs_by_score.dataset_hash is null or r.dataset_hash = get_top_runs_by_score.dataset_hash)
    order by r.final_score desc nulls last, r.created_at desc
    limit get_top_runs_by_score.max_runs
$$;
comment on function app.get_top_runs_by_score is 'Completed runs of one project by final score, best first, full evaluations only. Scores compare within one task, metric and dataset: name them for a leaderboard.';

grant execute on function app.get_optimization_run_summary(uuid),
app.get_top_runs_by_score(text, integer, text, text, text)
to tracemill_ingest, tracemill_dbt, service_role, authenticated, app_user, app_admin, app_readonly;

reset role;

-- Row-level security lets a condition use an index only where its function is known not to leak what it is given.
-- These two compare arrays of text and documents and say nothing but true or false; see docs/adr/0006.
do $$
begin
    alter function pg_catalog.arraycontains(anyarray, anyarray) leakproof;
    alter function pg_catalog.jsonb_contains(jsonb, jsonb) leakproof;
exception
    when insufficient_privilege then
        raise notice 'tags @> … and config @> … will not use their indexes for roles under row-level security: only a superuser can mark their functions leakproof';
end
$$;
