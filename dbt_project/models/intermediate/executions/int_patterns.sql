{{ config(incremental_predicates=['true']) }}

-- Only patterns seen on a rebuilt day, or whose first or last day was one, can have changed; their days are looked
-- up through the index, so no CTE stands between.
with

affected as (

    select distinct pattern_id
    from {{ ref('int_pattern_days') }}
    where {{ date_in_scope('activity_date') }}

    {% if is_incremental() %}
        union

        select pattern_id
        from {{ this }}
        where {{ on_rebuilt_days('first_seen_date') }} or {{ on_rebuilt_days('last_seen_date') }}
    {% endif %}

),

computed as (

    select
        latest.project_id,
        affected.pattern_id,
        latest.pattern_signature,
        latest.command_base,
        earliest.activity_date as first_seen_date,
        latest.activity_date as last_seen_date,
        latest.last_evidence_at
    from affected
    cross join lateral (
        select activity_date
        from {{ ref('int_pattern_days') }} as pattern_days
        where pattern_days.pattern_id = affected.pattern_id
        order by activity_date
        limit 1
    ) as earliest
    cross join lateral (
        select
            project_id,
            pattern_signature,
            command_base,
            activity_date,
            last_evidence_at
        from {{ ref('int_pattern_days') }} as pattern_days
        where pattern_days.pattern_id = affected.pattern_id
        order by activity_date desc
        limit 1
    ) as latest

),

final as (

    select * from computed

    {% if is_incremental() %}
        union all

        select
            project_id,
            pattern_id,
            pattern_signature,
            command_base,
            first_seen_date,
            last_seen_date,
            last_evidence_at
        from {{ this }}
        where pattern_id not in (select affected.pattern_id from affected)
    {% endif %}

)

select * from final
