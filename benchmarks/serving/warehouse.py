"""A warehouse with many runs of many projects, the way years of work leave them: few large projects, many small ones.

Rows are made in numpy and written by COPY. Indexes are made after the rows, which takes a third of the time.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import numpy as np
import psycopg
from dbt.cli.main import dbtRunner
from psycopg import sql

from benchmarks.measure import say
from pipelines.database import connect
from pipelines.maintenance import dbt
from pipelines.settings import Settings

_FIRST_DAY = datetime(2024, 11, 1, tzinfo=UTC)
_DAYS = 730
_BATCH = 50_000
_ITERATIONS = 20
"""Of each run that has any recorded."""
_SAMPLES = 10
"""Of each iteration that has any recorded."""
_EXPERIMENTS = 400
"""Labels of experiments in a project, the first of them on many runs, the last on few."""

_OPTIMIZERS = {
    "miprov2": 0.45, "gepa": 0.20, "bootstrap_random_search": 0.12, "copro": 0.08, "simba": 0.05, "bayesian": 0.05,
    "grid_search": 0.03, "random_search": 0.02,
}  # fmt: skip
_STATUSES = {"completed": 0.82, "failed": 0.09, "cancelled": 0.04, "running": 0.04, "pending": 0.01}
_STAGES = {"production": 0.10, "staging": 0.25, "development": 0.65}
_MODELS = [f"model-{number}" for number in range(12)]
_METRICS = ["exact_match", "f1", "answer_quality", "latency"]


@dataclass(frozen=True)
class Run:
    """A stored run, by the values that people look for it by."""

    project: str
    run_id: UUID
    model: str
    settings: str
    """Some of those that it was started with, as JSON."""
    optimizer: str
    status: str
    stage: str
    experiment: str


def fill(dsn: str, *, runs: int, projects: int, detailed: int) -> None:
    """Stores ``runs`` runs; the first ``detailed`` have iterations, a fifth of these samples."""
    names = [f"project-{number:03d}" for number in range(projects)]
    with connect(dsn, role="tracemill_ingest", autocommit=True) as connection:
        connection.execute(
            "insert into app.project_config (project_id, display_name) select n, n from unnest(%s::text[]) n",
            [names],
        )
    with connect(dsn, autocommit=True) as owner:
        indexes = _drop_indexes(owner, "optimization_runs")
        rng = np.random.default_rng(1)
        written = []
        for begin in range(0, runs, _BATCH):
            written += _write_runs(owner, rng, names, begin, min(_BATCH, runs - begin), runs)
        for statement in indexes:
            owner.execute(statement)
        say(f"{runs:,} runs of {projects} projects stored")
        _write_details(owner, rng, written[:: max(1, runs // detailed)][:detailed])
        owner.execute("vacuum (freeze, analyze)")


def build_analytics(dsn: str, home: Path) -> None:
    """Builds the mart of runs by optimizer and status. Raises RuntimeError with what dbt says failed."""
    settings = Settings(home / "serving", dsn, None, (), device_id="benchmark")
    with dbt.exported(dbt.environment(settings, dsn)):
        outcome = dbtRunner().invoke(["--quiet", "--no-use-colors", "run", "--select", "+optimization_run_analytics"])
    if not outcome.success:
        raise RuntimeError(dbt.describe_failure(dbt.target(settings)))


def choose(dsn: str, count: int) -> list[Run]:
    """Runs that people ask about: any is as likely as any other, so large projects are asked about more."""
    with connect(dsn) as connection, connection.cursor() as cursor:
        cursor.execute(
            """
            select r.project_id, r.id, r.model,
                jsonb_build_object(
                    'model_config', jsonb_build_object('model', r.model),
                    'miprov2', jsonb_build_object('num_candidates', r.config #> '{miprov2,num_candidates}')
                )::text,
                r.optimizer_type, r.status, r.tags[1], r.tags[2]
            from raw.optimization_iterations as i
            join raw.optimization_runs as r on r.project_id = i.project_id and r.id = i.run_id
            where i.iteration = 0
            order by md5(r.id::text)
            limit %s
            """,
            [count],
        )
        return [Run(*row) for row in cursor]


def _drop_indexes(connection: psycopg.Connection, table: str) -> list[str]:
    """Drops those that no constraint needs; returns the statements that make them."""
    found = connection.execute(
        """
        select i.indexrelid::regclass::text, pg_get_indexdef(i.indexrelid)
        from pg_index as i
        where i.indrelid = %s::regclass
            and not exists (select from pg_constraint as c where c.conindid = i.indexrelid)
        """,
        [f"raw.{table}"],
    ).fetchall()
    for name, _ in found:
        connection.execute(sql.SQL("drop index {}").format(sql.Identifier("raw", name.removeprefix("raw."))))
    return [statement for _, statement in found]


def _write_runs(
    connection: psycopg.Connection, rng: np.random.Generator, names: Sequence[str], begin: int, count: int, runs: int
) -> list[tuple[str, UUID]]:
    weights = 1 / (np.arange(len(names)) + 1)
    weights /= weights.sum()
    project = rng.choice(len(names), count, p=weights)
    optimizer = rng.choice(list(_OPTIMIZERS), count, p=list(_OPTIMIZERS.values()))
    status = rng.choice(list(_STATUSES), count, p=list(_STATUSES.values()))
    stage = rng.choice(list(_STAGES), count, p=list(_STAGES.values()))
    model = (len(_MODELS) * rng.random(count) ** 2).astype(int)
    experiment = (_EXPERIMENTS * rng.random(count) ** 2).astype(int)
    candidates = rng.integers(4, 24, count)
    task = rng.integers(0, 8, count)
    metric = rng.integers(0, len(_METRICS), count)
    initial = rng.beta(4, 5, count)
    final = initial + (1 - initial) * rng.beta(2, 4, count)
    hours = rng.gamma(2.0, 0.2, count)
    seeds = rng.integers(0, 10_000, count)
    written = []
    columns = (
        "project_id, id, source, source_key, run_name, optimizer_type, status, config, task, dataset_hash, start_time, "
        "end_time, initial_score_raw, final_score_raw, reported_tokens, reported_cost_usd, samples_evaluated, "
        "metadata, tags, created_at"
    )
    with connection.cursor().copy(f"copy raw.optimization_runs ({columns}) from stdin") as copy:
        for n in range(count):
            number = begin + n
            name, identifier = names[project[n]], UUID(int=_scattered(number))
            # Work grows over the years, and rows come nearly in the order of their time.
            created = _FIRST_DAY + timedelta(days=_DAYS * ((number + 1) / runs) ** 0.7, seconds=int(seeds[n]))
            ended = None if status[n] in ("running", "pending") else created + timedelta(hours=float(hours[n]))
            config = {
                "optimizer": str(optimizer[n]),
                "metric": _METRICS[metric[n]],
                "max_iterations": _ITERATIONS,
                "model_config": {"model": _MODELS[model[n]], "temperature": int(seeds[n]) % 11 / 10},
                "miprov2": {"num_candidates": int(candidates[n]), "init_temperature": 1.0, "seed": int(seeds[n])},
            }
            copy.write_row(
                (
                    name, identifier, "benchmark", str(number), f"task {task[n]} {optimizer[n]} {number}",
                    str(optimizer[n]), str(status[n]), json.dumps(config), f"task-{task[n]}", f"data-{task[n]}",
                    created, ended, round(float(initial[n]), 4), round(float(final[n]), 4) if ended else None,
                    int(seeds[n]) * 100, int(seeds[n]) / 1000, 100, '{"host": "trainer"}',
                    [str(stage[n]), f"experiment-{experiment[n]}", f"team-{seeds[n] % 7}"], created,
                )
            )  # fmt: skip
            written.append((name, identifier))
    return written


def _write_details(connection: psycopg.Connection, rng: np.random.Generator, runs: Sequence[tuple[str, UUID]]) -> None:
    """Iterations of these runs, and samples of every fifth iteration."""
    _copy(
        connection, "optimization_iterations", "project_id, run_id, iteration, evaluation_kind, score_raw, params, "
        "tokens_used, cost_usd", _iterations(rng, runs),
    )  # fmt: skip
    _copy(
        connection, "optimization_samples", "project_id, run_id, iteration, sample_index, sample_key, input, "
        "predicted_output, score_raw, is_correct, latency_ms", _samples(rng, runs),
    )  # fmt: skip
    say(f"{len(runs) * _ITERATIONS:,} iterations and {len(runs) * _ITERATIONS // 5 * _SAMPLES:,} samples stored")


def _copy(connection: psycopg.Connection, table: str, columns: str, rows: Iterator[tuple[Any, ...]]) -> None:
    statement = sql.SQL("copy raw.{} ({}) from stdin").format(sql.Identifier(table), sql.SQL(columns))
    with connection.cursor().copy(statement) as copy:
        for row in rows:
            copy.write_row(row)


def _iterations(rng: np.random.Generator, runs: Sequence[tuple[str, UUID]]) -> Iterator[tuple[Any, ...]]:
    for project, run in runs:
        scores = rng.beta(5, 3, _ITERATIONS)
        for number in range(_ITERATIONS):
            kind = "full" if number % 5 == 0 else "minibatch"
            params = json.dumps({"demos": number % 4, "instruction": int(scores[number] * 1000)})
            yield project, run, number, kind, round(float(scores[number]), 4), params, 5000 + number, "0.0125"


def _samples(rng: np.random.Generator, runs: Sequence[tuple[str, UUID]]) -> Iterator[tuple[Any, ...]]:
    question, answer = '{"question": "Which queue takes this ticket?"}', '{"queue": "billing"}'
    for project, run in runs:
        right = rng.random((_ITERATIONS, _SAMPLES)) < 0.7
        for number in range(0, _ITERATIONS, 5):
            for index in range(_SAMPLES):
                is_right = bool(right[number, index])
                yield project, run, number, index, f"ticket-{index}", question, answer, int(is_right), is_right, 800


def _scattered(number: int) -> int:
    """128 bits that look random and are the same every time (a permutation, so no two numbers share them)."""
    return number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128
