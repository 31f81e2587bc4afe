"""What is asked of optimization runs, as the client's list, search, leaderboard and detail calls ask it.

Each query takes the values of one known run (``Run``) as parameters and returns rows.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class Query:
    """A statement over one project."""

    name: str
    text: str


QUERIES = (
    Query(
        "newest runs",
        "select * from raw.optimization_runs where project_id = %(project)s order by created_at desc, id desc limit 20",
    ),
    Query(
        "runs of a status",
        "select * from raw.optimization_runs where project_id = %(project)s and status = %(status)s "
        "order by created_at desc, id desc limit 20",
    ),
    Query(
        "runs of an optimizer",
        "select * from raw.optimization_runs where project_id = %(project)s and optimizer_type = %(optimizer)s "
        "order by created_at desc, id desc limit 20",
    ),
    Query(
        "runs with a tag",
        "select * from raw.optimization_runs where project_id = %(project)s and tags @> array[%(stage)s] "
        "order by created_at desc limit 20",
    ),
    Query(
        "runs with two tags",
        "select * from raw.optimization_runs where project_id = %(project)s "
        "and tags @> array[%(stage)s, %(experiment)s] order by created_at desc limit 20",
    ),
    Query(
        "runs by settings",
        "select * from raw.optimization_runs where project_id = %(project)s "
        "and config @> %(settings)s::jsonb order by created_at desc limit 20",
    ),
    Query(
        "runs of a model",
        "select * from raw.optimization_runs where project_id = %(project)s and model = %(model)s "
        "order by created_at desc, id desc limit 20",
    ),
    Query(
        "leaderboard",
        "select id, run_name, final_score, improvement, created_at from raw.optimization_runs "
        "where project_id = %(project)s and status = 'completed' "
        "order by final_score desc nulls last, created_at desc limit 10",
    ),
    Query("a run", "select * from raw.optimization_runs where project_id = %(project)s and id = %(run_id)s"),
    Query("a run by its id alone", "select * from raw.optimization_runs where id = %(run_id)s"),
    Query(
        "its iterations",
        "select * from raw.optimization_iterations where project_id = %(project)s and run_id = %(run_id)s "
        "order by iteration",
    ),
    Query(
        "samples of an iteration",
        "select * from raw.optimization_samples where project_id = %(project)s and run_id = %(run_id)s "
        "and iteration = 5 order by sample_index limit 100",
    ),
    Query("summary of a run", "select * from app.get_optimization_run_summary(%(run_id)s)"),
    Query("top runs", "select * from app.get_top_runs_by_score(%(project)s, 10)"),
)

ANALYTICS = Query(
    "analytics",
    "select * from marts.optimization_run_analytics where project_id = %(project)s order by optimizer_type, status",
)
"""Of a mart, so the marts have to be built."""
