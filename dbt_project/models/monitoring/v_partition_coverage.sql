with

coverage as (

    {{ partition_coverage(var('alert_months_ahead')) }}

),

final as (

    select
        relation,
        partition_count,
        first_month,
        last_month,
        missing_months,
        default_row_count,
        default_months,
        cardinality(missing_months) = 0 and default_row_count = 0 as is_covered
    from coverage

)

select * from final
where {{ asked_by_operator() }}
