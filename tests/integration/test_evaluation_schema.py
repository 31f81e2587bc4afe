"""The tables of evaluations hold what evaluations are, and refuse what cannot be true.

``test_cN_…`` is named after a flaw of the design these tables come from, which must not come back.
"""

from datetime import timedelta
from uuid import uuid4

import pytest
from psycopg.errors import (
    CheckViolation,
    ForeignKeyViolation,
    NotNullViolation,
    UniqueViolation,
)

from tests.evaluation_rows import (
    MOMENT,
    TABLES,
    TRAJECTORY,
    add,
    add_evaluation,
    add_outcome,
    add_version,
    refused,
    value,
)

PROJECT = "alpha"


def simulation(made, **columns):
    return {
        "project_id": PROJECT, "config_version_id": made.versions[0], "source": "test", "source_key": str(uuid4()),
        **columns,
    }  # fmt: skip


def recommendation(**columns):
    return {
        "project_id": PROJECT, "confidence": 0.5, "recommendation_type": "config_change",
        "description": "Give it more time.", **columns,
    }  # fmt: skip


def test_every_table_takes_a_whole_evaluation_from_ingest(owner, made):
    counts = {table: value(owner, f"select count(*) from {table}") for table in TABLES}
    assert counts == {**dict.fromkeys(TABLES, 1), "raw.config_versions": 2}
    assert (
        value(owner, "select count(*) from raw.outcomes where tableoid = 'partitions.outcomes_2026_03'::regclass") == 1
    )


@pytest.mark.parametrize("table", [*TABLES, "audit.audit_log", "audit.chain_heads", "app.api_keys"])
def test_every_table_and_column_says_what_it_is(owner, table):
    undocumented = owner.execute(
        """
        select a.attname from pg_attribute as a
        where a.attrelid = %(table)s::regclass and a.attnum >= 0 and not a.attisdropped
            and col_description(a.attrelid, a.attnum) is null
        union all select 'the table' where obj_description(%(table)s::regclass, 'pg_class') is null
        """,
        {"table": table},
    ).fetchall()
    assert undocumented == []


def test_c2_c14_writing_works_with_any_setting_of_the_callers_identity(ingest):
    for setting in (None, "", "not a uuid", "7b5e2d0e-6a7e-4b8e-9d0c-2f3f4a5b6c7d"):
        if setting is not None:
            ingest.execute("select set_config('app.user_id', %s, true)", [setting])
        config = add(ingest, "raw.configurations", project_id=PROJECT, name=f"agent of {setting}")["config_id"]
        add_version(ingest, PROJECT, config, "model: m")


def test_c4_recent_failures_are_found_by_index(owner):
    owner.execute("set local enable_seqscan = off")
    plan = str(
        owner.execute(
            "explain (format json, costs off) select scenario_id, reliability_score from raw.outcomes "
            "where project_id = 'alpha' and status = 'error' and execution_time > now() - interval '30 days' "
            "order by execution_time desc"
        ).fetchall()
    )
    assert "(execution_time > (now()" in plan.split("Index Cond", 1)[1]
    assert "'Sort'" not in plan


def test_c6_c7_outcomes_and_what_belongs_to_them_share_their_months(ingest, made):
    where = "tableoid::regclass::text = 'partitions.' || %s || '_2026_03'"
    for table in ("outcomes", "tool_usage", "failure_patterns"):
        assert value(ingest, f"select bool_and({where}) from raw.{table}", table)
    refused(
        ingest, ForeignKeyViolation, "raw.tool_usage", project_id=PROJECT, outcome_id=made.outcome,
        execution_time=MOMENT + timedelta(seconds=1), call_number=2, tool_name="t", status="ok",
    )  # fmt: skip
    ingest.execute("delete from raw.outcomes")
    for table in ("tool_usage", "failure_patterns"):
        assert value(ingest, f"select count(*) from raw.{table}") == 0


def test_c8_partitions_are_made_for_any_month_once_and_only_where_they_are_written(owner):
    first = owner.execute("select ops.ensure_table_partitions(array['outcomes'], '2031-01-01', '2031-03-31')")
    assert first.fetchone() == (3,)
    assert value(owner, "select ops.ensure_table_partitions(array['outcomes'], '2031-01-01', '2031-03-31')") == 0
    assert value(owner, "select to_regclass('partitions.tool_usage_2031_01')") is None
    assert value(owner, "select ops.ensure_month_partitions('2031-01-01', '2031-01-01')") == 6
    assert value(owner, "select ops.ensure_month_partitions('2019-01-01', '2019-01-01')") == 6, "audit needs no past"


def test_c17_c19_vectors_of_each_model_have_an_hnsw_index_of_their_own_size(ingest):
    for model, dimensions in (("small", 3), ("large", 3072)):
        assert value(ingest, "select ops.ensure_embedding_index(%s, %s)", model, dimensions) is True
        assert value(ingest, "select ops.ensure_embedding_index(%s, %s)", model, dimensions) is False
        for number in range(3):
            vector = [1.0 if place == number else 0.0 for place in range(dimensions)]
            ingest.execute(
                "insert into raw.embeddings (project_id, model, content_hash, embedding) "
                "values (%s, %s, app.text_sha256(%s), %s)",
                [PROJECT, model, str(number), str(vector)],
            )
    methods = {
        row[0]
        for row in ingest.execute(
            "select am.amname from pg_index as i join pg_class as c on c.oid = i.indexrelid join pg_am as am on "
            "am.oid = c.relam where i.indrelid = 'raw.embeddings'::regclass and not i.indisunique"
        )
    }
    assert methods == {"hnsw"}
    nearest = "select dimensions from raw.embeddings where model = 'large' and dimensions = 3072 order by " \
        "embedding::halfvec(3072) <=> %s::halfvec(3072) limit 2"  # fmt: skip
    asked = str([1.0] + [0.0] * 3071)
    ingest.execute("set local enable_seqscan = off")
    assert "embeddings_3072_" in str(ingest.execute("explain " + nearest, [asked]).fetchall())
    assert ingest.execute(nearest, [asked]).fetchall() == [(3072,), (3072,)]
    refused(
        ingest, UniqueViolation, "raw.embeddings", project_id=PROJECT, model="small",
        content_hash=value(ingest, "select app.text_sha256('0')"), embedding="[1,2,3]",
    )  # fmt: skip


def test_c20_simulations_hold_known_scenarios_only_and_totals_are_counted(ingest, made):
    empty = add(ingest, "raw.simulations", **simulation(made))["simulation_id"]
    refused(
        ingest, ForeignKeyViolation, "raw.simulation_scenarios", project_id=PROJECT, simulation_id=empty,
        scenario_id="unknown", execution_order=1,
    )  # fmt: skip
    refused(
        ingest, ForeignKeyViolation, "raw.outcomes", project_id=PROJECT, simulation_id=empty, scenario_id=made.scenario,
        execution_time=MOMENT, status="success", trajectory=TRAJECTORY,
    )  # fmt: skip
    add(ingest, "raw.scenarios", project_id=PROJECT, scenario_id="second", name="Second")
    add(
        ingest, "raw.simulation_scenarios", project_id=PROJECT, simulation_id=made.simulation, scenario_id="second",
        execution_order=2,
    )  # fmt: skip
    progress = "select scenario_set, total_scenarios, completed_scenarios from raw.simulation_progress " \
        "where simulation_id = %s"  # fmt: skip
    assert ingest.execute(progress, [made.simulation]).fetchone() == ([made.scenario, "second"], 2, 1)
    assert ingest.execute(progress, [empty]).fetchone() == ([], 0, 0)


def test_c21_only_a_run_that_ended_has_an_end_and_history_may_be_filled_in(ingest, made):
    old = MOMENT - timedelta(days=900)
    for status in ("completed", "failed", "cancelled"):
        add(ingest, "raw.simulations", **simulation(made, status=status, started_at=old, completed_at=MOMENT))
    for status in ("failed", "cancelled", "running", "pending"):
        add(ingest, "raw.simulations", **simulation(made, status=status))
    for columns in (
        {"status": "completed"},
        {"status": "running", "completed_at": MOMENT},
        {"status": "pending", "completed_at": MOMENT},
        {"status": "completed", "started_at": MOMENT, "completed_at": old},
    ):
        refused(ingest, CheckViolation, "raw.simulations", **simulation(made, **columns))


def test_c23_no_status_is_left_open(owner, made):
    rows = owner.execute(
        """
        select attrelid::regclass::text, attname from pg_attribute
        where attrelid = any(%s::regclass[]) and attname ~ 'status$|^applied$|^recovery_|^is_(active|deleted)$'
            and not attnotnull
        """,
        [list(TABLES)],
    ).fetchall()
    assert rows == []
    refused(owner, NotNullViolation, "raw.simulations", **simulation(made, status=None))
    refused(owner, CheckViolation, "raw.simulations", **simulation(made, status="paused"))


def test_c24_money_adds_up(ingest, made):
    for _ in range(1000):
        add_outcome(ingest, made, cost_usd="0.0001", cost_status="reported")
    assert str(value(ingest, "select sum(cost_usd) from raw.outcomes")) == "0.1000"


def test_c29_a_recommendation_is_about_exactly_one_thing_that_exists(ingest, made):
    sources = {
        "simulation": {"simulation_id": made.simulation},
        "outcome": {"outcome_id": made.outcome, "execution_time": MOMENT},
        "pattern_analysis": {"pattern_id": made.pattern, "execution_time": MOMENT},
        "config_diff": {"diff_id": made.diff},
        "scenario": {"scenario_id": made.scenario},
    }
    for source_type, source in sources.items():
        assert add(ingest, "raw.recommendations", **recommendation(**source))["source_type"] == source_type
    for wrong in (
        {},
        {"simulation_id": made.simulation, "diff_id": made.diff},
        {"outcome_id": made.outcome},
        {"simulation_id": made.simulation, "execution_time": MOMENT},
    ):
        refused(ingest, CheckViolation, "raw.recommendations", **recommendation(**wrong))
    refused(ingest, ForeignKeyViolation, "raw.recommendations", **recommendation(simulation_id=uuid4()))
    refused(
        ingest, CheckViolation, "raw.recommendations",
        **recommendation(simulation_id=made.simulation, applied=True),
    )  # fmt: skip


def test_c30_failures_are_events_joined_by_cluster(ingest, made):
    owner = {"project_id": PROJECT, "outcome_id": made.outcome, "execution_time": MOMENT}
    failure = {"failure_type": "timeout", "failure_category": "timeout", "cluster_id": "c1", **owner}
    add(ingest, "raw.failure_patterns", **failure)
    assert value(ingest, "select count(*) from raw.failure_patterns where cluster_id = 'c1'") == 2
    refused(ingest, CheckViolation, "raw.failure_patterns", **{**failure, "failure_category": "bad_luck"})
    refused(ingest, CheckViolation, "raw.failure_patterns", **failure, recovery_successful=True)
    refused(ingest, NotNullViolation, "raw.failure_patterns", **failure, recovery_attempted=None)


def test_c31_tool_calls_keep_their_order_and_rates_come_from_sums(ingest, made):
    owner = {"project_id": PROJECT, "outcome_id": made.outcome, "execution_time": MOMENT}
    for number, (status, duration) in enumerate([("error", 100), ("ok", 1), ("unanswered", None)], start=2):
        add(
            ingest, "raw.tool_usage", call_number=number, tool_name="search", status=status,
            duration_ms=duration, **owner,
        )  # fmt: skip
    sequence = (
        "select array_agg(tool_name order by call_number), count(*) filter (where status = 'ok') from raw.tool_usage"
    )
    assert ingest.execute(sequence).fetchone() == (["search ", "search", "search", "search"], 2)
    refused(
        ingest, CheckViolation, "raw.tool_usage", call_number=9, tool_name="t", status="ok", error_type="E", **owner
    )


def test_c32_large_trajectories_lie_apart_and_no_index_covers_them(owner, made):
    sizes = (
        "select pg_relation_size(oid), pg_relation_size(reltoastrelid) from pg_class "
        "where oid = 'partitions.outcomes_2026_03'::regclass"
    )
    noise = [str(uuid4()) for _ in range(5000)]
    rows_before, texts_before = owner.execute(sizes).fetchone()
    for epoch in range(2, 12):
        add_outcome(owner, made, epoch=epoch, trajectory={**TRAJECTORY, "steps": noise})
    rows_after, texts_after = owner.execute(sizes).fetchone()
    assert rows_after - rows_before <= 16_384
    assert texts_after - texts_before > 1_000_000
    assert (
        owner.execute("select * from pg_indexes where schemaname = 'raw' and indexdef ~ 'trajectory'").fetchall() == []
    )


def test_c33_no_partial_index_begins_with_the_key_of_a_single_row(owner):
    rows = owner.execute(
        """
        select i.indexrelid::regclass::text, a.attname
        from pg_index as i
        cross join lateral (select i.indkey[0] as first, i.indkey[1] as second) as k
        join pg_attribute as a on a.attrelid = i.indrelid and a.attnum = k.second
        where i.indrelid = any(%s::regclass[]) and i.indpred is not null
        """,
        [list(TABLES)],
    ).fetchall()
    assert len(rows) >= 5
    assert {column for _, column in rows} & {"recommendation_id"} == set()
    assert ("recommendations_pending", "confidence") in rows


def test_c34_words_are_found_in_any_language_and_errors_by_likeness(ingest, made):
    add(ingest, "raw.scenarios", project_id=PROJECT, scenario_id="de", name="Flüge", task_prompt="Buche die Flüge")
    found = "select scenario_id from raw.scenarios where search_vector @@ to_tsquery(%s::regconfig, %s)"
    assert ingest.execute(found, ["english", "flight & booking"]).fetchall() == [(made.scenario,)]
    assert ingest.execute(found, ["simple", "flüge & die"]).fetchall() == [("de",)]
    assert value(
        ingest, "select count(*) from raw.failure_patterns where search_vector @@ to_tsquery('simple', 'timed & out')"
    ) == 1  # fmt: skip
    assert value(
        ingest, "select count(*) from raw.failure_patterns where error_template % 'connections timed out at'"
    ) == 1  # fmt: skip
    ingest.execute("set local enable_seqscan = off")
    ingest.execute("set local enable_indexscan = off")
    plan = str(
        ingest.execute(
            "explain select * from raw.failure_patterns where project_id = 'alpha' and error_template % 'timed out'"
        ).fetchall()
    )
    assert "error_template" in plan
    assert "% 'timed out'" in plan.split("Index Cond", 1)[1]


@pytest.mark.parametrize(
    "words", [" ".join(f"w{n}" for n in range(400_000)), "x" * 3_000_000, "\u2028 \ud7ff" * 50_000]
)
def test_long_prompts_can_be_stored_and_searched(ingest, words):
    add(ingest, "raw.scenarios", project_id=PROJECT, scenario_id="long", name="findme", task_prompt=words)
    assert value(ingest, "select count(*) from raw.scenarios where search_vector @@ 'findme'::tsquery") == 1


@pytest.mark.parametrize(
    ("columns", "normalised"),
    [
        ({}, None),
        ({"score_raw": "0.25"}, 0.25),
        ({"score_raw": 84, "score_scale": "[0,100]"}, 0.84),
        ({"score_raw": 84}, None),
        ({"score_raw": -380180, "score_scale": "(,)"}, None),
    ],
)
def test_scores_keep_their_scale_and_unscored_is_not_zero(ingest, made, columns, normalised):
    stored = add_outcome(ingest, made, **columns)["reliability_score"]
    assert (stored if stored is None else float(stored)) == normalised


@pytest.mark.parametrize(
    "columns",
    [
        {"score_raw": "NaN", "score_scale": "(,)"},
        {"score_raw": "Infinity", "score_scale": "(,)"},
        {"tokens_used": -1},
        {"cost_usd": 1},
        {"cost_status": "reported"},
        {"trajectory": {"status": "success"}},
        {"status": "maybe"},
        {"epoch": 0},
    ],
)
def test_outcome_that_cannot_be_is_refused(ingest, made, columns):
    with pytest.raises(CheckViolation):
        add_outcome(ingest, made, **columns)


def test_deleting_a_simulation_takes_its_outcomes_along_and_nothing_of_others(ingest, made):
    twin = add_evaluation(ingest, "beta", ids={"simulation_id": made.simulation, "outcome_id": made.outcome})
    ingest.execute("delete from raw.simulations where project_id = %s", [PROJECT])
    for table in (
        "simulations",
        "simulation_scenarios",
        "outcomes",
        "tool_usage",
        "failure_patterns",
        "recommendations",
    ):
        assert ingest.execute(f"select project_id from raw.{table}").fetchall() == [(twin.project,)]


def test_changed_rows_say_when_they_changed(ingest, made):
    for table in ("configurations", "scenarios", "simulations", "outcomes", "recommendations"):
        ingest.execute(f"update raw.{table} set project_id = project_id")
        assert value(ingest, f"select bool_and(updated_at > created_at) from raw.{table}")


def test_this_and_the_next_months_of_the_audit_log_are_there_from_the_start(owner):
    for ahead in range(4):
        month = value(
            owner,
            "select to_char(min(applied_at) + make_interval(months => %s), 'YYYY_MM') from public.schema_migrations",
            ahead,
        )
        assert value(owner, "select to_regclass('partitions.audit_log_' || %s) is not null", month)
