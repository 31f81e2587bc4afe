"""Dagster's storage with connections that stay open.

Dagster opens a connection for each of the hundreds of statements of a run, which takes longer than the statements
themselves. Its own web server holds connections open instead; here every process of the instance does. After a
restart of the server the first statement fails and the next connects anew.
"""

from typing import Any

from dagster_postgres import DagsterPostgresStorage

_NO_STATEMENT_TIMEOUT = 0
_RECYCLE_SECONDS = 600
_MORE_CONNECTIONS = 20


class PooledPostgresStorage(DagsterPostgresStorage):
    """The PostgreSQL storage of dagster_postgres, pooled; configured alike."""

    @classmethod
    def from_config_value(  # type: ignore[override]  # as the parent: it makes its own kind
        cls, inst_data: Any, config_value: Any
    ) -> DagsterPostgresStorage:
        """The storage that dagster.yaml describes."""
        storage = super().from_config_value(inst_data, config_value)
        for part in (storage.run_storage, storage.event_log_storage, storage.schedule_storage):
            part.optimize_for_webserver(_NO_STATEMENT_TIMEOUT, _RECYCLE_SECONDS, _MORE_CONNECTIONS)
        return storage
