-- Rows in a DEFAULT partition are an alarm: nobody made the partition of their month, and while they are there nobody
-- can. They are counted for whoever watches, and moved.
set local lock_timeout = '5s';
set local role tracemill_owner;

create or replace function ops.default_rows() returns table (relation text, month date, row_count bigint)
language plpgsql stable security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
as $$
declare
    parent record;
begin
    for parent in
        select
            format('%I.%I', n.nspname, c.relname) as name,
            p.partdefid::regclass as default_partition,
            a.attname
        from pg_partitioned_table as p
        join pg_class as c on c.oid = p.partrelid
        join pg_namespace as n on n.oid = c.relnamespace
        join pg_attribute as a on a.attrelid = p.partrelid and a.attnum = p.partattrs[0]
        where n.nspname in ('raw', 'audit') and p.partdefid <> 0
        order by 1
    loop
        return query execute format(
            'select %L::text, case when isfinite(t.%2$I) then date_trunc(''month'', t.%2$I)::date end, count(*) from %3$s as t group by 2 order by 2',
            parent.name, parent.attname, parent.default_partition
        );
    end loop;
end
$$;
comment on function ops.default_rows is 'Rows in DEFAULT partitions, one row per table and month; the month is NULL for times without one.';
grant execute on function ops.default_rows() to tracemill_maintenance, tracemill_dbt;

create or replace function ops.adopt_default_rows(in_domain text, of_month date, most_rows bigint) returns bigint
language plpgsql security definer
set search_path = pg_catalog, pg_temp
set timezone = 'UTC'
set lock_timeout = '900ms'
as $$
declare
    first_day constant date := date_trunc('month', of_month);
    within constant text := format(
        '>= %L and %%1$I < %L', first_day || ' 00:00:00+00', (first_day + interval '1 month')::date || ' 00:00:00+00'
    );
    rule record;
    columns text;
    counted bigint;
    found_rows bigint := 0;
begin
    -- Rows refer to one another, so the whole domain is taken out, later tables first, and put back.
    for rule in select r.* from ops.retention_rules as r where r.domain = in_domain order by r.position desc loop
        execute format('lock table %s in share row exclusive mode', rule.relation);
        execute format('drop table if exists pg_temp.adopted_%s', rule.position);
        execute format(
            'create temporary table adopted_%2$s on commit drop as select * from %3$s where %1$I ' || within,
            rule.time_column, rule.position, rule.relation
        );
        get diagnostics counted = row_count;
        found_rows := found_rows + counted;
        if found_rows > most_rows then
            raise exception 'more than % rows of % in % would have to move', most_rows, in_domain, to_char(first_day, 'YYYY-MM')
                using errcode = 'program_limit_exceeded';
        end if;
        execute format('delete from %2$s where %1$I ' || within, rule.time_column, rule.relation);
    end loop;
    for rule in select r.* from ops.retention_rules as r where r.domain = in_domain order by r.position loop
        perform ops.ensure_table_partitions(array[split_part(rule.relation, '.', 2)], first_day, first_day);
        select string_agg(quote_ident(a.attname), ', ') into columns
        from pg_attribute as a
        where a.attrelid = rule.relation::regclass and a.attnum > 0 and not a.attisdropped and a.attgenerated = '';
        execute format('insert into %1$s (%2$s) select %2$s from adopted_%3$s', rule.relation, columns, rule.position);
    end loop;
    return found_rows;
end
$$;
comment on function ops.adopt_default_rows is 'Makes the partitions that a month of a domain lacks although DEFAULT holds rows of it, and moves the rows there; returns how many rows the month has. Refuses above most_rows.';
grant execute on function ops.adopt_default_rows(text, date, bigint) to tracemill_maintenance;

reset role;
