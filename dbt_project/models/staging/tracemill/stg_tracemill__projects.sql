with source as (

    select * from {{ source('app', 'project_config') }}

),

renamed as (

    select
        project_id,
        display_name,
        monthly_budget_usd,
        settings,
        registered_at
    from source

)

select * from renamed
