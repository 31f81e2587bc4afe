with

protection as (

    {{ relation_protection() }}

)

select * from protection
where {{ asked_by_operator() }}
