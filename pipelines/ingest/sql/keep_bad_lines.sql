insert into ops.quarantined_records (
    record_key, file_key, path, line_number, byte_offset, byte_length, source, project_id, reason, detail, sample
)
select distinct on (record_key)
    record_key,
    file_key,
    path,
    line_number,
    byte_offset,
    byte_length,
    source,
    project_id,
    reason,
    detail,
    sample
from staged_bad_lines
order by record_key
on conflict (record_key) do nothing
returning record_key
