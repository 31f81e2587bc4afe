-- Indexes of partitions count with the index of their table. One that no query used since the statistics began may
-- go, unless it keeps keys unique; an invalid one is what is left of a build that failed.
with

leaves as (

    select
        coalesce(parent.inhparent, s.indexrelid) as index_oid,
        s.indexrelid,
        s.idx_scan,
        s.idx_tup_read,
        s.last_idx_scan
    from pg_stat_user_indexes as s
    left join pg_inherits as parent on s.indexrelid = parent.inhrelid

),

usage as (

    select
        index_oid,
        count(*) as part_count,
        sum(idx_scan)::bigint as scan_count,
        sum(idx_tup_read)::bigint as entries_read,
        max(last_idx_scan) as last_used_at,
        sum(pg_relation_size(indexrelid))::bigint as index_bytes
    from leaves
    group by index_oid

),

final as (

    select
        format('%I.%I', n.nspname, t.relname) as relation,
        c.relname::text as index_name,
        i.indisprimary as is_primary_key,
        i.indisunique as is_unique,
        i.indisvalid as is_valid,
        usage.scan_count = 0 and not i.indisunique as is_unused,
        usage.part_count,
        usage.scan_count,
        usage.entries_read,
        usage.index_bytes,
        usage.last_used_at,
        d.stats_reset as counted_since
    from usage
    inner join pg_index as i on usage.index_oid = i.indexrelid
    inner join pg_class as c on i.indexrelid = c.oid
    inner join pg_class as t on i.indrelid = t.oid
    inner join pg_namespace as n on t.relnamespace = n.oid
    inner join pg_stat_database as d on d.datname = current_database()
    where n.nspname in {{ own_schemas() }}

)

select * from final
where {{ asked_by_operator() }}
