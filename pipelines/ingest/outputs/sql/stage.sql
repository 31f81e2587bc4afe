-- The records of one document, as COPY brings them.
create temporary table if not exists staged_outputs (
    kind text not null,
    record_number integer not null,
    line_number bigint not null,
    byte_offset bigint not null,
    project_id text not null,
    body jsonb not null
);

create temporary table if not exists refused_outputs (
    record_number integer not null,
    reason text not null,
    detail text not null
);
