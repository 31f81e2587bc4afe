-- Where the extension is missing there is one row that says so. Building marts takes its time: only statements of
-- people and programs are called slow.
with

statements as (

    select * from ops.statement_statistics()

),

final as (

    select
        is_available,
        detail,
        role_name::text as role_name,
        statement,
        calls,
        total_ms,
        mean_ms,
        max_ms,
        row_count,
        blocks_read,
        coalesce(
            not is_platform
            and mean_ms > {{ var('alert_slow_query_ms') }}
            and calls >= {{ var('alert_slow_query_min_calls') }},
            false
        ) as is_slow
    from statements

)

select * from final
where {{ asked_by_operator() }}
