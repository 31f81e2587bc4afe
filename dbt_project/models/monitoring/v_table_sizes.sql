-- Partitions count with their table. Rows are the planner's estimate: counting them would read everything.
with

relations as (

    select
        c.oid,
        n.nspname,
        c.relname,
        c.relkind
    from pg_class as c
    inner join pg_namespace as n on c.relnamespace = n.oid
    where n.nspname in {{ own_schemas() }} and c.relkind in ('r', 'p', 'm')

),

parts as (

    select
        relations.oid as relation_oid,
        part.relid as part_oid
    from relations
    cross join lateral pg_partition_tree(relations.oid) as part
    where relations.relkind = 'p' and part.isleaf
    union all
    select
        oid as relation_oid,
        oid as part_oid
    from relations
    where relkind <> 'p'

),

final as (

    select
        format('%I.%I', relations.nspname, relations.relname) as relation,
        case relations.relkind when 'p' then count(parts.part_oid) else 0 end as partition_count,
        sum(pg_total_relation_size(parts.part_oid))::bigint as total_bytes,
        sum(pg_relation_size(parts.part_oid))::bigint as table_bytes,
        sum(pg_indexes_size(parts.part_oid))::bigint as index_bytes,
        sum(greatest(c.reltuples, 0))::bigint as estimated_rows,
        sum(s.n_dead_tup)::bigint as dead_rows,
        max(greatest(s.last_vacuum, s.last_autovacuum)) as last_vacuumed_at,
        max(greatest(s.last_analyze, s.last_autoanalyze)) as last_analyzed_at
    from relations
    inner join parts on relations.oid = parts.relation_oid
    inner join pg_class as c on parts.part_oid = c.oid
    left join pg_stat_user_tables as s on parts.part_oid = s.relid
    group by relations.oid, relations.nspname, relations.relname, relations.relkind

)

select * from final
where {{ asked_by_operator() }}
