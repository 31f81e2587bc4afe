-- Without a star: of this table tenants may read these columns only.
select
    project_id,
    record_key,
    file_key,
    path,
    line_number,
    source,
    reason,
    detail,
    quarantined_at
from {{ source('ops', 'quarantined_records') }}
