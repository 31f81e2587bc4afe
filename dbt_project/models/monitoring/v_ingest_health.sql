with

files as (

    select * from {{ ref('stg_tracemill__ingest_files') }}

),

quarantined as (

    select
        project_id,
        count(*) filter (where quarantined_at > now() - interval '1 day') as quarantined_last_day,
        mode() within group (order by reason) as commonest_reason,
        max(quarantined_at) as last_quarantined_at
    from {{ ref('stg_tracemill__quarantined_records') }}
    group by project_id

),

by_project as (

    select
        project_id,
        count(*) as file_count,
        count(*) filter (where source is null) as unrecognised_count,
        sum(size_bytes)::bigint as size_bytes,
        sum(committed_offset)::bigint as committed_bytes,
        sum(quarantined_count)::bigint as quarantined_count,
        min(first_seen_at) as first_seen_at,
        max(last_ingested_at) as last_ingested_at
    from files
    group by project_id

),

final as (

    select
        by_project.project_id,
        by_project.file_count,
        by_project.unrecognised_count,
        by_project.size_bytes,
        by_project.committed_bytes,
        by_project.quarantined_count,
        coalesce(quarantined.quarantined_last_day, 0) as quarantined_last_day,
        quarantined.commonest_reason,
        quarantined.last_quarantined_at,
        by_project.first_seen_at,
        by_project.last_ingested_at,
        now() - by_project.last_ingested_at as age
    from by_project
    left join quarantined on by_project.project_id is not distinct from quarantined.project_id

)

select * from final
