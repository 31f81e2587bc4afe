"""The database: which one to use, how to connect to it, what to say when that fails."""

from pipelines.database.connection import connect
from pipelines.database.errors import describe_error
from pipelines.settings import Settings

__all__ = ["connect", "describe_error", "dsn"]


def dsn(settings: Settings) -> str:
    """The configured DSN unchanged, else that of the embedded server, which is started when it is not running."""
    if settings.database_url is not None:
        return settings.database_url
    from pipelines.database import embedded  # imported when used: most commands have no need of it

    return embedded.start(settings.home).dsn()
