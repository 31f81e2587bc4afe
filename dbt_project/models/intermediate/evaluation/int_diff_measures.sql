{%- set keys = ['project_id', 'diff_id'] -%}
{{
    config(
        unique_key=['project_id', 'diff_id'],
        meta={'span': ['first_activity_date', 'last_activity_date']},
        indexes=[{'columns': ['project_id', 'diff_id', 'measure'], 'unique': true}],
    )
}}

-- Each scenario that both versions met gives one pair of means, so that easier scenarios do not look like progress
-- and one repeated often does not count more. Means are numeric: their sums do not depend on the order of rows.
with

pairs as (

    select * from {{ ref('int_version_scenarios') }}

),

diffs as (

    select * from {{ ref('stg_tracemill__config_diffs') }}

),

touched_versions as (

    select distinct
        project_id,
        config_version_id
    from {{ ref('int_version_scenario_days') }}
    where {{ date_in_scope('activity_date') }}

),

affected as (

    select diffs.*
    from diffs
    where
        exists (
            select 1
            from touched_versions
            where
                touched_versions.project_id = diffs.project_id
                and touched_versions.config_version_id
                in (diffs.config_version_id_before, diffs.config_version_id_after)
        )
        {% if is_incremental() %}
            or exists (
                select 1
                from {{ this }} as standing
                where
                    standing.project_id = diffs.project_id
                    and standing.diff_id = diffs.diff_id
                    and {{ spanning_rebuilt_days('standing.first_activity_date', 'standing.last_activity_date') }}
            )
            -- A change may be described long after both versions were evaluated.
            or not exists (
                select 1
                from {{ this }} as standing
                where standing.project_id = diffs.project_id and standing.diff_id = diffs.diff_id
            )
        {% endif %}

),

shared as (

    select
        affected.project_id,
        affected.diff_id,
        affected.config_version_id_before,
        affected.config_version_id_after,
        before.first_activity_date as first_before,
        after.first_activity_date as first_after,
        before.last_activity_date as last_before,
        after.last_activity_date as last_after,
        {% for side in ['before', 'after'] -%}
            sum({{ side }}.judged_count) over (partition by affected.project_id, affected.diff_id) as judged_{{ side }},
            {{ side }}.passed_count::numeric
            / nullif({{ side }}.passed_count + {{ side }}.failed_count, 0) as reliability_{{ side }},
            {{ side }}.score_sum / nullif({{ side }}.scored_count, 0) as score_{{ side }},
            {{ side }}.cost_usd / nullif({{ side }}.costed_count, 0) as cost_usd_{{ side }},
            {{ side }}.duration_ms / nullif({{ side }}.timed_count, 0) as duration_ms_{{ side }},
            {{ side }}.total_tokens::numeric / nullif({{ side }}.counted_count, 0) as tokens_{{ side }}
            {{- ',' if not loop.last }}
        {% endfor %}
    from affected
    inner join pairs as before
        on affected.project_id = before.project_id
        and affected.config_version_id_before = before.config_version_id
    inner join pairs as after
        on affected.project_id = after.project_id
        and affected.config_version_id_after = after.config_version_id
        and before.scenario_id = after.scenario_id

),

changes as (

    select
        shared.project_id,
        shared.diff_id,
        least(shared.first_before, shared.first_after) as first_activity_date,
        greatest(shared.last_before, shared.last_after) as last_activity_date,
        measures.measure,
        case when measures.before is not null and measures.after is not null then measures.before end as before,
        case when measures.before is not null and measures.after is not null then measures.after end as after,
        measures.after - measures.before as change,
        measures.is_more_better
    from shared
    cross join lateral (
        values
        (
            'reliability',
            case when shared.judged_before > 0 and shared.judged_after > 0 then shared.reliability_before end,
            case when shared.judged_before > 0 and shared.judged_after > 0 then shared.reliability_after end,
            true
        ),
        ('score', shared.score_before, shared.score_after, true),
        ('cost_usd', shared.cost_usd_before, shared.cost_usd_after, false),
        ('duration_ms', shared.duration_ms_before, shared.duration_ms_after, false),
        ('tokens', shared.tokens_before, shared.tokens_after, false)
    ) as measures (measure, before, after, is_more_better)

),

final as (

    select
        project_id,
        diff_id,
        measure,
        min(first_activity_date) as first_activity_date,
        max(last_activity_date) as last_activity_date,
        count(change) as scenario_count,
        count(*) filter (where change <> 0 and (change > 0) = is_more_better) as better_count,
        count(*) filter (where change <> 0 and (change > 0) <> is_more_better) as worse_count,
        count(*) filter (where change = 0) as same_count,
        avg(before)::double precision as mean_before,
        avg(after)::double precision as mean_after,
        avg(change)::double precision as mean_change,
        stddev_samp(change)::double precision as sd_change
    from changes
    group by project_id, diff_id, measure

)

select * from final
