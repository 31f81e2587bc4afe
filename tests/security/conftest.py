"""Who asks in attacks on a ``world``: its owner, a member of alpha, and a member of nothing who acts by token."""

from collections.abc import Iterator

import psycopg
import pytest

from pipelines.database import connect
from tests.attackers import World


@pytest.fixture
def owner(world: World) -> Iterator[psycopg.Connection]:
    """Superuser; what is not committed is undone."""
    with connect(world.dsn) as opened:
        yield opened
        opened.rollback()


@pytest.fixture
def analyst(world: World) -> Iterator[psycopg.Connection]:
    """Member of alpha, as app_readonly."""
    with connect(world.member, role="app_readonly", autocommit=True) as opened:
        yield opened


@pytest.fixture
def service(world: World) -> Iterator[psycopg.Connection]:
    """Member of nothing, as app_user; becomes somebody with a token only."""
    with connect(world.stranger, role="app_user", autocommit=True) as opened:
        yield opened
