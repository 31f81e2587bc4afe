"""What is derived from raw texts by a model: their vectors, and what must hold of them."""

from collections.abc import Iterator
from typing import Any

import dagster as dg
import psycopg

from pipelines.database import describe_error
from pipelines.defs.resources import Warehouse
from pipelines.enrichment import EmbedderError, choose, embed_missing, read_coverage
from pipelines.maintenance import table_preview

EMBEDDINGS = dg.AssetKey(["raw", "embeddings"])
_ROLE = "tracemill_ingest"
_TEXTS_OF = ("config_versions", "scenarios", "outcomes", "failure_patterns", "tool_calls", "command_executions")
"""Raw tables whose texts are embedded."""


@dg.asset(
    key=EMBEDDINGS, deps=[["raw", table] for table in _TEXTS_OF], group_name="enrichment", kinds={"postgres"}
)  # fmt: skip
def embeddings(context: dg.AssetExecutionContext, warehouse: Warehouse) -> dg.MaterializeResult[Any]:
    """One row per text and model: configurations, tasks, trajectories and errors as vectors, to find what is alike."""
    try:
        report = embed_missing(warehouse.dsn(), warehouse.settings())
    except EmbedderError as error:
        raise dg.Failure(str(error)) from error
    except psycopg.Error as error:
        raise dg.Failure(describe_error(error)) from error
    context.log.info(f"Embedded {report.embeddings} texts by {report.model}.")
    with warehouse.connect(_ROLE) as connection:
        rows = table_preview.row_count(connection, *EMBEDDINGS.path)
    return dg.MaterializeResult(
        metadata={
            "dagster/row_count": dg.MetadataValue.int(rows),
            "dagster/table_name": dg.MetadataValue.text(".".join(EMBEDDINGS.path)),
            "model": dg.MetadataValue.text(report.model),
            "subjects": dg.MetadataValue.json(dict(report.subjects)),
            "inserted": dg.MetadataValue.int(report.embeddings),
            "removed": dg.MetadataValue.int(report.removed),
        }
    )


_COVERS_ALL = dg.AssetCheckSpec(
    "covers_every_subject", asset=EMBEDDINGS, description="Every subject has the vector of its text by today's model."
)
_COMPARES = dg.AssetCheckSpec(
    "has_one_length", asset=EMBEDDINGS, description="All vectors of today's model have the same dimensions."
)


@dg.multi_asset_check(name="embedding_checks", specs=[_COVERS_ALL, _COMPARES])
def embedding_checks(warehouse: Warehouse) -> Iterator[dg.AssetCheckResult]:
    """What must hold before texts are compared."""
    try:
        model = choose(warehouse.settings().embedder).model
    except EmbedderError as error:
        raise dg.Failure(str(error)) from error
    with warehouse.connect(_ROLE) as connection:
        coverage = read_coverage(connection, model)
    yield dg.AssetCheckResult(
        asset_key=EMBEDDINGS,
        check_name=_COVERS_ALL.name,
        passed=not coverage.missing,
        # What was ingested after the vectors were made is no fault: the next run takes it up.
        severity=dg.AssetCheckSeverity.WARN,
        metadata={"model": model, "subjects": dict(coverage.missing), "example": coverage.example or "none"},
    )
    yield dg.AssetCheckResult(
        asset_key=EMBEDDINGS,
        check_name=_COMPARES.name,
        passed=len(coverage.vectors) <= 1,
        metadata={"model": model, "vectors": {str(length): count for length, count in coverage.vectors.items()}},
    )
