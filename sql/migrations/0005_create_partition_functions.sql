set local lock_timeout = '5s';
set local role tracemill_owner;

create or replace function ops.ensure_month_partitions(first_day date, last_day date) returns integer
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
            select c.relname
            from pg_class as c
            where c.relnamespace = 'raw'::regnamespace and c.relkind = 'p'
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
                'create table partitions.%I (like raw.%I including defaults including constraints)', child, parent.relname
            );
            execute format('alter table partitions.%I enable row level security', child);
            execute format(
                'alter table raw.%I attach partition partitions.%I for values from (%L) to (%L)',
                parent.relname, child,
                to_char(month, 'YYYY-MM-DD') || ' 00:00:00+00',
                to_char(month + interval '1 month', 'YYYY-MM-DD') || ' 00:00:00+00'
            );
            made := made + 1;
        end loop;
    end loop;
    return made;
end
$$;
comment on function ops.ensure_month_partitions is 'Makes the monthly partitions of every raw table from the month of first_day to that of last_day; returns how many were missing. Safe to repeat and to run twice at once.';
grant execute on function ops.ensure_month_partitions(date, date) to tracemill_ingest;

reset role;
