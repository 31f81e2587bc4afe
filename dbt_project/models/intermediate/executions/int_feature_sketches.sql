{{ config(incremental_strategy='roll', indexes=[{'columns': ['activity_date']}]) }}

{%- set features = [
    'scope_breadth', 'specificity_level', 'test_type', 'priority_level', 'operation_type',
    'has_multiple_targets', 'has_compound_criteria',
] %}

with

executions as (

    select * from {{ ref('stg_tracemill__command_executions') }}
    where
        {{ in_scope('started_at') }}
        and started_at >= (
            select bounds.window_start::timestamp at time zone 'UTC' from {{ ref('int_aggregation_window') }} as bounds
        )

),

-- Executions of one pattern mostly share their features: counting first leaves few rows to spread.
counted as (

    select
        project_id,
        command_base,
        activity_date,
        model_version,
        {% for feature in features -%}
            command_features ->> '{{ feature }}' as {{ feature }},
        {% endfor -%}
        {{ sketch_bucket('total_tokens') }} as bucket,
        count(*)::integer as observations
    from executions
    where total_tokens > 0
    group by
        project_id, command_base, activity_date, model_version,
        {% for feature in features %}command_features ->> '{{ feature }}', {% endfor %}bucket

),

fresh as (

    select
        {{ level_id('counted.project_id', 'counted.command_base', 'levels.feature', 'levels.level') }} as level_id,
        counted.project_id,
        counted.command_base,
        levels.feature,
        levels.level,
        counted.activity_date,
        counted.bucket,
        sum(counted.observations)::integer as observations
    from counted
    cross join lateral (
        values
        {% for feature in features -%}
            ('{{ feature }}', counted.{{ feature }}),
        {% endfor -%}
        ('model', counted.model_version)
    ) as levels (feature, level)
    where levels.level is not null
    group by
        counted.project_id, counted.command_base, levels.feature, levels.level, counted.activity_date, counted.bucket

),

{{ rolled_sketches(keys=['level_id'], attributes=['project_id', 'command_base', 'feature', 'level']) }}
