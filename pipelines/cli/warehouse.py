"""A warehouse that a command can work on.

The embedded server belongs to tracemill, so it is started and migrated without being asked. A server of the
person's own is migrated only on request: its owner decides when.
"""

from pipelines.cli.errors import CommandError
from pipelines.settings import Settings


def ready_warehouse(settings: Settings) -> str:
    """DSN of the migrated warehouse. Raises CommandError when an external one lacks migrations."""
    from pipelines.database import dsn, migrations

    address = dsn(settings)
    found = migrations.status(address)
    found.require_not_newer()
    if not found.pending:
        return address
    if settings.database_url is not None:
        raise CommandError(
            f"The database lacks {len(found.pending)} migrations, {found.pending[0]} first: run `tracemill db migrate`."
        )
    migrations.migrate(address)
    return address
