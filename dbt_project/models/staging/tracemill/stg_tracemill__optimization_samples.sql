with source as (

    select * from {{ source('raw', 'optimization_samples') }}

),

renamed as (

    select
        -- ids
        project_id,
        run_id,
        iteration,
        sample_index,
        coalesce('key:' || sample_key, 'input:' || md5(input::text)) as sample_id,

        -- scores
        coalesce(score, is_correct::integer) as score
    from source

)

select * from renamed
