{{ config(incremental_predicates=['true']) }}

with

bounds as (

    select
        as_of_date,
        date_trunc('month', as_of_date)::date as month_start_date,
        (date_trunc('month', as_of_date) + interval '1 month - 1 day')::date as month_end_date
    from (
        select least(window_end, (now() at time zone 'UTC')::date - 1) as as_of_date
        from {{ ref('int_aggregation_window') }}
    ) as covered
    where as_of_date is not null

),

projects as (

    select * from {{ ref('stg_tracemill__projects') }}

),

spend as (

    select
        project_id,
        activity_date,
        cost_usd,
        is_cost_lower_bound,
        sum(cost_usd) over (partition by project_id order by activity_date) as cumulative_usd
    from {{ ref('project_spend_daily') }}
    where
        activity_date >= (select bounds.month_start_date from bounds)
        and activity_date <= (select bounds.as_of_date from bounds)

),

spent as (

    select
        project_id,
        sum(cost_usd) as spent_usd,
        bool_or(is_cost_lower_bound) as is_cost_lower_bound
    from spend
    group by project_id

),

-- Days of the month as they were spent, then as they are expected.
course as (

    select
        project_id,
        activity_date as course_date,
        cumulative_usd
    from spend

    union all

    select
        forecast.project_id,
        forecast.forecast_date as course_date,
        coalesce(spent.spent_usd, 0) + forecast.cumulative_cost_usd as cumulative_usd
    from {{ ref('cost_forecast') }} as forecast
    left join spent on forecast.project_id = spent.project_id
    where forecast.forecast_date <= (select bounds.month_end_date from bounds)

),

crossings as (

    select
        projects.project_id,
        min(course.course_date) as crossing_date
    from projects
    inner join course
        on projects.project_id = course.project_id
        and projects.monthly_budget_usd < course.cumulative_usd
    group by projects.project_id

),

measured as (

    select
        projects.project_id,
        bounds.month_start_date,
        bounds.month_end_date,
        bounds.as_of_date,
        projects.monthly_budget_usd,
        case when spent.project_id is null then 0 else spent.spent_usd end as spent_usd,
        case
            when bounds.as_of_date = bounds.month_end_date then 0
            else month_end.cumulative_cost_usd
        end as expected_usd,
        case when bounds.as_of_date = bounds.month_end_date then 0 else month_end.cumulative_low_usd end as low_usd,
        case when bounds.as_of_date = bounds.month_end_date then 0 else month_end.cumulative_high_usd end as high_usd,
        crossings.crossing_date,
        coalesce(spent.is_cost_lower_bound, false) or coalesce(month_end.is_cost_lower_bound, false)
            as is_cost_lower_bound
    from projects
    cross join bounds
    left join spent on projects.project_id = spent.project_id
    left join crossings on projects.project_id = crossings.project_id
    left join {{ ref('cost_forecast') }} as month_end
        on projects.project_id = month_end.project_id
        and bounds.month_end_date = month_end.forecast_date

),

final as (

    select
        project_id,
        month_start_date,
        month_end_date,
        as_of_date,
        monthly_budget_usd,
        spent_usd,
        monthly_budget_usd - spent_usd as remaining_usd,
        {{ ratio('spent_usd', 'monthly_budget_usd') }} as spent_share,
        spent_usd + expected_usd as projected_usd,
        spent_usd + low_usd as projected_low_usd,
        spent_usd + high_usd as projected_high_usd,
        crossing_date,
        case
            when monthly_budget_usd is null then 'no_budget'
            when spent_usd > monthly_budget_usd then 'exceeded'
            when spent_usd + expected_usd > monthly_budget_usd then 'will_exceed'
            when spent_usd + high_usd > monthly_budget_usd then 'may_exceed'
            when spent_usd + expected_usd is null then 'unknown'
            else 'within'
        end as status,
        is_cost_lower_bound
    from measured

)

select * from final
