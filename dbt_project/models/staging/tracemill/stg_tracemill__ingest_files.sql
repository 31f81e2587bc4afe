-- Without a star: of this table tenants may read these columns only.
select
    project_id,
    file_key,
    path,
    source,
    size_bytes,
    committed_offset,
    committed_lines,
    quarantined_count,
    first_seen_at,
    last_ingested_at
from {{ source('ops', 'ingest_files') }}
