delete from raw.embedding_subjects as s
where
    s.model = {model} and s.subject_kind = {kind}
    and ({projects}::text [] is null or s.project_id = any({projects}::text []))
    and not exists (
        select from ({subjects}) as t where t.project_id = s.project_id and t.subject_key = s.subject_key
    )
