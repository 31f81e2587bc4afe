"""``python -m benchmarks.triggers [--rows 20k] [--rounds 5] [--json FILE]``: see benchmarks/README.md."""

import argparse
import dataclasses
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from uuid import UUID

import psycopg

from benchmarks.measure import Verdict, fresh_database, private_server, say
from benchmarks.meter import Call, Meter
from benchmarks.nightly.__main__ import parse_count
from pipelines.database import connect

_PROJECT = "bench"
_PER_RUN = 20


@dataclass(frozen=True)
class Statement:
    """One INSERT: these iterations of each of these runs, by place."""

    runs: range
    iterations: range


@dataclass
class Load:
    """Statements that write the same number of rows, and what they took each round."""

    name: str
    statements: tuple[Statement, ...]
    is_required: bool = True
    """Whether the requirement is about such loads."""
    plain: list[Call] = field(default_factory=list)
    """Without the triggers."""
    kept: list[Call] = field(default_factory=list)
    """With them."""

    @property
    def runs(self) -> int:
        return max(statement.runs.stop for statement in self.statements)

    @property
    def time_ratio(self) -> float:
        return median(call.elapsed for call in self.kept) / median(call.elapsed for call in self.plain)

    @property
    def processor_ratio(self) -> float:
        return median(call.processor for call in self.kept) / median(call.processor for call in self.plain)

    def __str__(self) -> str:
        return (
            f"| {self.name} | {median(call.elapsed for call in self.plain):.0f} "
            f"| {median(call.elapsed for call in self.kept):.0f} | {self.time_ratio:.2f} "
            f"| {self.processor_ratio:.2f} |"
        )


def loads(rows: int) -> tuple[Load, ...]:
    """The ways in which ``rows`` iterations arrive."""
    runs, part = rows // _PER_RUN, rows // _PER_RUN // 20
    numbers = range(_PER_RUN)
    return (
        Load(f"one statement, {runs:,} runs", (Statement(range(runs), numbers),)),
        Load("one statement, one run", (Statement(range(1), range(rows)),)),
        Load(
            f"20 statements, {part:,} whole runs each",
            tuple(Statement(range(n * part, (n + 1) * part), numbers) for n in range(20)),
        ),
        Load(
            f"20 statements, an iteration of {runs:,} runs each",
            tuple(Statement(range(runs), range(n, n + 1)) for n in numbers),
            # A run is a wider row than an iteration: to keep it right costs as much as the one iteration that is new.
            is_required=False,
        ),
    )


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.triggers", description=__doc__)
    parser.add_argument("--rows", type=parse_count, default=20_000, help="iterations of each load")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write all numbers to this file")
    options = parser.parse_args()
    measured = loads(options.rows)
    with private_server() as home, connect(fresh_database(home, "triggers"), autocommit=True) as connection:
        connection.execute(
            "insert into app.project_config (project_id, display_name) values (%s, 'benchmark')", [_PROJECT]
        )
        for number in range(options.rounds):
            for load in measured:
                for with_triggers in (number % 2 == 0, number % 2 == 1):
                    (load.kept if with_triggers else load.plain).append(_run(connection, load, with_triggers))
    say(f"| {options.rows:,} iterations | without ms | with triggers ms | x | processor time, x |")
    say("| --- | ---: | ---: | ---: | ---: |")
    say("\n".join(map(str, measured)) + "\n")
    verdicts = [
        Verdict(f"{of}, {load.name}", ratio, 1.5)
        for load in measured
        if load.is_required
        for of, ratio in (("time", load.time_ratio), ("processor time", load.processor_ratio))
    ]
    say("\n".join(map(str, verdicts)))
    if options.json:
        found = [{**dataclasses.asdict(verdict), "holds": verdict.holds} for verdict in verdicts]
        numbers = {load.name: {"without": load.plain, "with": load.kept} for load in measured}
        options.json.write_text(
            json.dumps({"calls": numbers, "verdicts": found}, default=dataclasses.asdict, indent=2) + "\n"
        )
    sys.exit(0 if all(verdict.holds for verdict in verdicts) else 1)


def _run(connection: psycopg.Connection, load: Load, with_triggers: bool) -> Call:
    """Writes the load into new runs, each statement in a transaction of its own."""
    made = connection.execute(
        "insert into raw.optimization_runs (project_id, run_name, optimizer_type) "
        "select %s, 'run ' || n, 'miprov2' from generate_series(1, %s) as n returning id",
        [_PROJECT, load.runs],
    )
    runs = [run for (run,) in made]
    connection.execute("vacuum (analyze) raw.optimization_runs, raw.optimization_iterations")
    connection.execute("checkpoint")
    if not with_triggers:
        connection.execute("alter table raw.optimization_iterations disable trigger user")
    meter = Meter(connection)
    calls = [
        meter.measure(
            _INSERT,
            {
                "project": _PROJECT,
                "runs": runs[statement.runs.start : statement.runs.stop],
                "first": statement.iterations.start,
                "last": statement.iterations.stop - 1,
            },
        )
        for statement in load.statements
    ]
    if with_triggers:
        _check(connection, runs)
    connection.execute("alter table raw.optimization_iterations enable trigger user")
    return Call(sum(call.elapsed for call in calls), sum(call.processor for call in calls))


_INSERT = """
insert into raw.optimization_iterations (
    project_id, run_id, iteration, evaluation_kind, score_raw, params, tokens_used, cost_usd,
    iteration_start_time, iteration_end_time
)
select
    %(project)s, r.id, i, case when i %% 5 = 0 then 'full' else 'minibatch' end,
    (abs(hashint4(i) # hashtext(r.id::text)::bigint) %% 1000) / 1000.0,
    jsonb_build_object('demos', i %% 4, 'instruction', i %% 12, 'temperature', i %% 10 / 10.0), 4000 + i, 0.01,
    timestamptz '2026-01-01Z' + i * interval '1 minute', timestamptz '2026-01-01Z' + i * interval '1 minute 1 second'
from unnest(%(runs)s::uuid[]) as r (id), generate_series(%(first)s::integer, %(last)s::integer) as i
"""


def _check(connection: psycopg.Connection, runs: Sequence[UUID]) -> None:
    """Raises RuntimeError when a run's statistics are not those of its iterations."""
    wrong = connection.execute(_WRONG, {"project": _PROJECT, "runs": list(runs)}).fetchone()
    if wrong is None or wrong[0]:
        raise RuntimeError(f"{wrong and wrong[0]} of {len(runs)} runs have wrong statistics")


_WRONG = """
select count(*)
from raw.optimization_runs as r
cross join lateral (
    select
        count(*) as iterations, sum(i.tokens_used) as tokens, sum(i.cost_usd) as cost_usd,
        (array_agg(i.iteration order by i.evaluation_kind = 'full' desc, i.score_raw desc, i.iteration))[1] as best,
        array_agg(i.iteration) filter (where i.is_best) as flagged
    from raw.optimization_iterations as i
    where i.project_id = r.project_id and i.run_id = r.id
) as t
where r.project_id = %(project)s and r.id = any(%(runs)s)
    and (r.iterations, r.iteration_tokens, r.iteration_cost_usd, r.best_iteration, array[r.best_iteration])
    is distinct from (t.iterations, t.tokens, t.cost_usd, t.best, t.flagged)
"""


if __name__ == "__main__":
    main()
