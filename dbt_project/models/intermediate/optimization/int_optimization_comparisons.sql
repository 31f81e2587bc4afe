{{
    config(
        incremental_strategy='settle',
        unique_key=['comparison_id'],
        indexes=[{'columns': ['comparison_id'], 'unique': true}],
    )
}}

with

runs as (

    select * from {{ ref('int_optimization_runs') }}
    where comparison_id is not null

),

final as (

    select
        project_id,
        comparison_id,
        count(*) as run_count,
        sum(final_sample_count)::bigint as final_sample_count,
        md5(string_agg(run_id || ' ' || extract(epoch from run_version), ',' order by run_id))::uuid
            as comparison_version
    from runs
    group by project_id, comparison_id

)

select * from final
