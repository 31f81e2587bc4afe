{{
    config(
        incremental_predicates=['true'],
        indexes=[{'columns': ['project_id', 'config_id']}],
    )
}}

{%- set measures = ['reliability', 'score', 'cost_usd', 'duration_ms', 'tokens'] %}

with

diffs as (

    select
        diffs.*,
        configurations.config_name
    from {{ ref('stg_tracemill__config_diffs') }} as diffs
    inner join {{ ref('stg_tracemill__configurations') }} as configurations
        on diffs.project_id = configurations.project_id
        and diffs.config_id = configurations.config_id

),

expected as (

    select
        diffs.*,
        measures.measure,
        case
            when jsonb_typeof(diffs.impact_prediction -> measures.measure) = 'number'
                then (diffs.impact_prediction ->> measures.measure)::double precision
        end as predicted_change
    from diffs
    cross join unnest(array{{ measures }}) as measures (measure)

),

tested as (

    select
        *,
        case when sd_change > 0 then sd_change / sqrt(scenario_count) end as standard_error,
        (scenario_count - 1)::integer as degrees
    from {{ ref('int_diff_measures') }}

),

final as (

    select
        expected.project_id,
        expected.diff_id,
        expected.measure,
        expected.config_id,
        expected.config_name,
        expected.config_version_id_before,
        expected.version_number_before,
        expected.config_version_id_after,
        expected.version_number_after,
        expected.approval_status,
        coalesce(tested.scenario_count, 0) as scenario_count,
        coalesce(tested.better_count, 0) as better_count,
        coalesce(tested.worse_count, 0) as worse_count,
        coalesce(tested.same_count, 0) as same_count,
        tested.mean_before,
        tested.mean_after,
        tested.mean_change,
        tested.sd_change,
        tested.mean_change - app.student_t_critical(tested.degrees) * tested.standard_error as mean_change_low,
        tested.mean_change + app.student_t_critical(tested.degrees) * tested.standard_error as mean_change_high,
        app.student_t_p_value(tested.mean_change / tested.standard_error, tested.degrees) as p_value,
        expected.predicted_change,
        tested.mean_change - expected.predicted_change as prediction_error,
        abs(tested.mean_change - expected.predicted_change)
        <= app.student_t_critical(tested.degrees) * tested.standard_error as is_prediction_plausible
    from expected
    left join tested
        on expected.project_id = tested.project_id
        and expected.diff_id = tested.diff_id
        and expected.measure = tested.measure

)

select * from final
