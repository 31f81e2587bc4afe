-- Ingest asks for its partitions before every batch, and nearly always they are there: one look at the catalog says so.
set local lock_timeout = '5s';
set local role tracemill_owner;

create or replace function ops.ensure_table_partitions(only_tables text[], first_day date, last_day date)
returns integer
language plpgsql security definer
set search_path = pg_catalog, pg_temp
as $$
declare
    missing record;
    made integer := 0;
begin
    for missing in
        select
            p.nspname,
            p.relname,
            m.month,
            m.month + interval '1 month' as next_month,
            p.relname || to_char(m.month, '_YYYY_MM') as child
        from (
            select n.nspname, c.relname
            from pg_partitioned_table as t
            join pg_class as c on c.oid = t.partrelid
            join pg_namespace as n on n.oid = c.relnamespace
            where n.nspname in ('raw', 'audit') and (only_tables is null or c.relname = any(only_tables))
        ) as p
        cross join generate_series(
            date_trunc('month', first_day::timestamp), date_trunc('month', last_day::timestamp), interval '1 month'
        ) as m (month)
        where
            -- What is written in a month is audited in that month: the past needs no partition.
            (p.nspname = 'raw' or m.month >= date_trunc('month', current_date::timestamp))
            and to_regclass(format('partitions.%I', p.relname || to_char(m.month, '_YYYY_MM'))) is null
        order by m.month, p.relname
    loop
        perform pg_advisory_xact_lock(hashtextextended('tracemill.partitions', 0));
        -- Another session may have made it meanwhile; a query sees that, a cached name look-up does not.
        continue when exists(
            select from pg_class as c
            where c.relnamespace = 'partitions'::regnamespace and c.relname = missing.child
        );
        -- Attaching takes a weaker lock on the parent than CREATE TABLE … PARTITION OF: readers go on.
        execute format(
            'create table partitions.%I (like %I.%I including defaults including constraints including generated)',
            missing.child, missing.nspname, missing.relname
        );
        execute format('alter table partitions.%I enable row level security', missing.child);
        execute format(
            'alter table %I.%I attach partition partitions.%I for values from (%L) to (%L)',
            missing.nspname, missing.relname, missing.child,
            to_char(missing.month, 'YYYY-MM-DD') || ' 00:00:00+00',
            to_char(missing.next_month, 'YYYY-MM-DD') || ' 00:00:00+00'
        );
        if missing.nspname = 'audit' then
            execute format(
                'create trigger entries_stay_when_truncated before truncate on partitions.%I '
                'for each statement execute function audit.refuse_change()', missing.child
            );
        end if;
        made := made + 1;
    end loop;
    return made;
end
$$;

reset role;
