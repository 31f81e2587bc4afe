"""Documents read by their format, and what came of them."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

from pipelines.sources.documents import FORMATS, Document, identify
from pipelines.sources.outputs import Outcome, Record, Scenario, Simulation
from pipelines.sources.records import BadLine

MODIFIED = datetime(2026, 3, 1, 12, tzinfo=UTC)
HEAD_BYTES = 256 << 10

T = TypeVar("T")


@dataclass(frozen=True)
class Found:
    """Records of one document."""

    records: Sequence[Record]

    def of(self, kind: type[T]) -> list[T]:
        return [record for record in self.records if isinstance(record, kind)]

    @property
    def simulations(self) -> list[Simulation]:
        return self.of(Simulation)

    @property
    def scenarios(self) -> dict[str, Scenario]:
        return {scenario.scenario_id: scenario for scenario in self.of(Scenario)}

    @property
    def outcomes(self) -> list[Outcome]:
        return self.of(Outcome)

    @property
    def bad(self) -> list[BadLine]:
        return self.of(BadLine)


def format_of(path: Path) -> str | None:
    """Name of the format that claims the file."""
    with path.open("rb") as stream:
        return identify(path, stream.read(HEAD_BYTES))


def read(path: Path, expected: str) -> Found:
    """The document that the file belongs to, which has to be claimed by ``expected``."""
    assert format_of(path) == expected
    return found(FORMATS[expected].root(path), expected)


def found(root: Path, source: str) -> Found:
    """Records of the document at ``root``."""
    return Found(list(FORMATS[source].read(Document(root, MODIFIED))))


def changed(value: Any, **changes: Any) -> Any:
    """A copy of the object with other values; None takes the key out."""
    merged = {**value, **changes}
    return {key: member for key, member in merged.items() if member is not None}
