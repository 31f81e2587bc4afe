-- What every query of a tenant and every insert of iterations passes through is made cheap.
set local lock_timeout = '5s';
set local role tracemill_owner;

-- One array of two look-ups, each by its index: nothing to sort, nothing to aggregate.
create or replace function app.current_projects() returns text[]
language sql stable security definer
set search_path = pg_catalog, pg_temp
as $$
    select array(
        select s.project_id
        from priv.sessions as s
        where s.token_hash = sha256(convert_to(nullif(current_setting('app.token', true), ''), 'UTF8'))
            and s.expires_at > now()
        union all
        select m.project_id
        from app.project_members as m
        where m.member_role = session_user
    )
$$;

-- Members are few: the index is made in no time.
-- squawk-ignore require-concurrent-index-creation
create index if not exists project_members_by_role on app.project_members (member_role, project_id);

-- Statistics of iterations set the time themselves, and spare the call.
create or replace trigger optimization_runs_updated_at
before update on raw.optimization_runs for each row
when (new.updated_at is distinct from now()) execute function ops.set_updated_at();

-- Runs are locked as they are updated, hence in the order of their keys, as by everybody who writes to several.
create or replace function ops.add_inserted_iterations() returns trigger
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set enable_seqscan = off set enable_mergejoin = off set enable_hashjoin = off set enable_hashagg = off
as $$
declare
    project_ids text[];
    run_ids uuid[];
begin
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

    added as materialized (
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
        order by k.project_id, k.run_id
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
            iteration_cost_usd = r.iteration_cost_usd + a.iteration_cost_usd,
            updated_at = now()
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

reset role;
