{{ config(incremental_predicates=['true']) }}

{#- Spend of the last weeks by weekday, with the interval of a regression on the weekday alone: a prediction's variance
    is that of the residuals, plus that of the mean it rests on. From two weeks of history each weekday has been seen
    twice; with less, down to one week, all days share one mean. Days without requests cost nothing. -#}
with

bounds as (

    select least(window_end, (now() at time zone 'UTC')::date - 1) as as_of_date
    from {{ ref('int_aggregation_window') }}

),

spend as (

    select
        project_id,
        activity_date,
        cost_usd,
        is_cost_lower_bound
    from {{ ref('project_spend_daily') }}
    where
        activity_date > (select bounds.as_of_date - {{ var('forecast_history_days') }} from bounds)
        and activity_date <= (select bounds.as_of_date from bounds)

),

histories as (

    select
        active.project_id,
        active.is_cost_lower_bound,
        bounds.as_of_date,
        greatest(earliest.activity_date, bounds.as_of_date - {{ var('forecast_history_days') }} + 1) as first_date,
        bounds.as_of_date - earliest.activity_date >= 13 as is_by_weekday
    from (
        select
            project_id,
            bool_or(is_cost_lower_bound) as is_cost_lower_bound
        from spend
        group by project_id
        having count(cost_usd) > 0
    ) as active
    cross join bounds
    cross join lateral (
        select activity_date
        from {{ ref('project_spend_daily') }} as project_days
        where project_days.project_id = active.project_id
        order by activity_date
        limit 1
    ) as earliest
    where bounds.as_of_date - earliest.activity_date >= 6

),

seasons as (

    select
        histories.project_id,
        case when histories.is_by_weekday then calendar.iso_weekday end as season,
        count(*) as day_count,
        sum(coalesce(spend.cost_usd, 0)) as total_usd,
        sum(coalesce(spend.cost_usd, 0) ^ 2) as squared_usd
    from histories
    inner join {{ ref('dim_dates') }} as calendar
        on histories.first_date <= calendar.calendar_date
        and histories.as_of_date >= calendar.calendar_date
    left join spend
        on histories.project_id = spend.project_id
        and calendar.calendar_date = spend.activity_date
    group by histories.project_id, season

),

residuals as (

    select
        project_id,
        sum(day_count) as history_days,
        sum(day_count) - count(*) as freedom,
        greatest(0, sum(squared_usd - total_usd ^ 2 / day_count)) / (sum(day_count) - count(*)) as variance
    from seasons
    group by project_id

),

predicted as (

    select
        histories.project_id,
        histories.as_of_date,
        histories.is_by_weekday,
        histories.is_cost_lower_bound,
        calendar.calendar_date as forecast_date,
        residuals.history_days,
        residuals.freedom,
        residuals.variance,
        seasons.day_count,
        seasons.total_usd / seasons.day_count as expected_usd,
        row_number() over (
            partition by histories.project_id, seasons.season
            order by calendar.calendar_date
        ) as repetition
    from histories
    inner join residuals on histories.project_id = residuals.project_id
    inner join {{ ref('dim_dates') }} as calendar
        on histories.as_of_date < calendar.calendar_date
        and histories.as_of_date + {{ var('forecast_horizon_days') }} >= calendar.calendar_date
    inner join seasons
        on histories.project_id = seasons.project_id
        and (calendar.iso_weekday = seasons.season or not histories.is_by_weekday)

),

-- The mean of a weekday errs the same way each time it is used, so its share of a sum's variance grows with the square.
accumulated as (

    select
        *,
        sum(expected_usd) over running as cumulative_usd,
        variance * (count(*) over running + sum((2 * repetition - 1)::numeric / day_count) over running)
            as cumulative_variance,
        {{ t_975('freedom') }} as quantile
    from predicted
    window running as (partition by project_id order by forecast_date)

),

final as (

    select
        project_id,
        forecast_date,
        as_of_date,
        forecast_date - as_of_date as horizon_days,
        case when is_by_weekday then 'weekday mean' else 'mean' end as method,
        history_days::integer as history_days,
        round(expected_usd, 6) as expected_cost_usd,
        round(greatest(0, expected_usd - quantile * sqrt(variance * (1 + 1.0 / day_count))), 6) as cost_low_usd,
        round(expected_usd + quantile * sqrt(variance * (1 + 1.0 / day_count)), 6) as cost_high_usd,
        round(cumulative_usd, 6) as cumulative_cost_usd,
        round(greatest(0, cumulative_usd - quantile * sqrt(cumulative_variance)), 6) as cumulative_low_usd,
        round(cumulative_usd + quantile * sqrt(cumulative_variance), 6) as cumulative_high_usd,
        is_cost_lower_bound
    from accumulated

)

select * from final
