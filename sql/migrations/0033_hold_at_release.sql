-- A retention that began before a project was put on legal hold may archive for an hour: the hold counts when rows leave.
set local lock_timeout = '5s';
set local role tracemill_owner;

create or replace function ops.release_archived_rows(archived_domain text, archived_month date, projects text[])
returns table (relation text, row_count bigint, is_dropped boolean)
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
-- Shorter than the wait after which PostgreSQL looks for deadlocks: of two sessions in one, this is the one to give in.
set lock_timeout = '900ms'
as $$
#variable_conflict use_column
declare
    first_day constant date := date_trunc('month', archived_month);
    end_day constant date := first_day + interval '1 month';
    rule record;
    unproven text;
    has_others boolean;
begin
    for rule in select r.* from ops.retention_rules as r where r.domain = archived_domain order by r.position loop
        -- Writers wait, readers go on.
        execute format('lock table %s in share row exclusive mode', coalesce(
            ops.month_partition(rule.relation, first_day), ops.default_partition(rule.relation), rule.relation::regclass
        ));
    end loop;
    if archived_domain <> 'audit' and exists (
        select from ops.touched_days as t
        where t.project_id = any(projects) and t.activity_date >= first_day and t.activity_date < end_day
        union all
        select from ops.aggregation_days as d where d.activity_date >= first_day and d.activity_date < end_day
    ) then
        raise exception 'days of % wait for aggregation', to_char(first_day, 'YYYY-MM') using errcode = 'object_in_use';
    end if;
    if exists (
        select from ops.archived_months as m
        join ops.retention_rules as r on r.relation = m.relation
        where r.domain = archived_domain and m.month = first_day and m.project_id = any(projects) and m.held_until > now()
    ) then
        raise exception 'restored rows of % are held', to_char(first_day, 'YYYY-MM') using errcode = 'object_in_use';
    end if;
    if exists (
        select from app.project_config as p
        where p.project_id = any(projects) and (p.settings ->> 'legal_hold')::boolean
    ) then
        raise exception 'a project is on legal hold' using errcode = 'object_in_use';
    end if;

    for rule in select r.* from ops.retention_rules as r where r.domain = archived_domain order by r.position desc loop
        select
            string_agg(f.project_id, ', ') filter (
                where f.project_id = any(projects)
                    and (f.row_count is distinct from m.row_count or f.checksum is distinct from m.checksum)
            ),
            coalesce(bool_or(f.project_id <> all(projects)), false),
            coalesce(sum(f.row_count) filter (where f.project_id = any(projects)), 0)
        into unproven, has_others, row_count
        from ops.month_fingerprints(rule.relation, first_day) as f
        left join ops.archived_months as m
            on m.project_id = f.project_id and m.relation = rule.relation and m.month = first_day;
        if unproven is not null then
            raise exception 'rows of % in % are not all in the archive: %', rule.relation, to_char(first_day, 'YYYY-MM'), unproven
                using errcode = 'serialization_failure';
        elsif has_others and archived_domain = 'audit' then
            raise exception 'the audit log of % holds entries of other projects', to_char(first_day, 'YYYY-MM')
                using errcode = 'object_in_use';
        end if;
        is_dropped := not has_others and ops.month_partition(rule.relation, first_day) is not null;
        if is_dropped then
            execute format('alter table %s detach partition %s', rule.relation, ops.month_partition(rule.relation, first_day));
            execute format('drop table partitions.%I', ops.month_partition_name(rule.relation, first_day));
        elsif row_count > 0 then
            execute format(
                'delete from %s where project_id = any($1) and %I >= $2 and %I < $3', rule.relation, rule.time_column, rule.time_column
            ) using projects, first_day::timestamp at time zone 'UTC', end_day::timestamp at time zone 'UTC';
        end if;
        update ops.archived_months as m
        set released_at = clock_timestamp(), restored_at = null, held_until = null
        where m.project_id = any(projects) and m.relation = rule.relation and m.month = first_day;
        relation := rule.relation;
        return next;
    end loop;
    if archived_domain = 'audit' then
        update audit.chain_heads as h set archived_at = clock_timestamp() where h.month = first_day;
    end if;
end
$$;
comment on function ops.release_archived_rows is 'Takes the rows of these projects and this month out of every table of a domain: by dropping the partition where nobody else has rows in it, else by deleting them. Refuses unless exactly these rows were proven to be in the archive, their days have been aggregated and no hold is on them or their projects.';

reset role;
