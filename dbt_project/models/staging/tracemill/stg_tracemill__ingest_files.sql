with source as (

    select * from {{ source('ops', 'ingest_files') }}

),

renamed as (

    select
        project_id,
        file_key,
        path,
        source,
        size_bytes,
        committed_offset,
        quarantined_count,
        first_seen_at,
        last_ingested_at
    from source

)

select * from renamed
