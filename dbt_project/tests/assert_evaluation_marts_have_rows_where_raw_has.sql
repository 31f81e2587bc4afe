-- A mart is empty only where its raw table is: a policy that hides all rows from the build would leave every mart
-- empty and every comparison of sums content. A mart may outlive raw rows, which go to the archive.
{%- set expectations = [
    ('config_version_performance', 'stg_tracemill__config_versions'),
    ('config_diff_impact', 'stg_tracemill__config_diffs'),
    ('scenario_reliability', 'stg_tracemill__scenarios'),
    ('tool_performance', 'stg_tracemill__tool_usage'),
    ('error_rates_daily', 'stg_tracemill__outcomes'),
] %}

with

presence as (

    {% for mart, staging in expectations -%}
        select
            '{{ mart }}' as mart,
            exists(select 1 from {{ ref(mart) }}) as has_rows,
            exists(select 1 from {{ ref(staging) }}) as should_have_rows
        {{ 'union all' if not loop.last }}
    {% endfor %}

)

select mart
from presence
where should_have_rows and not has_rows
