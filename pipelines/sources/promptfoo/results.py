"""What promptfoo writes: only the fields that feed something, and both files as one stream of results."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from pipelines.sources import json_documents
from pipelines.sources.json_documents import Element
from pipelines.sources.lines import read_blocks, read_objects
from pipelines.sources.outputs import Unreadable, content_hash
from pipelines.sources.records import BadLine

VERSION = 3
SUCCESS, FAILED_CHECK, ERROR = 0, 1, 2
"""``failureReason`` of a result."""


class Place(NamedTuple):
    """Where a result stands."""

    line: int
    offset: int


class CompletionDetails(msgspec.Struct, rename="camel"):
    """Kinds of tokens as the provider tells them apart."""

    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class TokenUsage(msgspec.Struct, rename="camel"):
    """Tokens of the answer; those of graders are counted apart by promptfoo."""

    prompt: int | None = None
    completion: int | None = None
    cached: int | None = None
    """Answered from promptfoo's own cache, not by the provider."""
    total: int | None = None
    completion_details: CompletionDetails | None = None


class Provider(msgspec.Struct, frozen=True):
    """Who answered; the id names vendor, endpoint and model, or a file."""

    id: str = ""
    label: str | None = None
    config: Any = None

    @property
    def name(self) -> str:
        """As shown by promptfoo."""
        return self.label or self.id


class Prompt(msgspec.Struct, frozen=True):
    """A prompt, filled in for its test; in the list of prompts, the template."""

    raw: str = ""
    label: str | None = None
    id: str | None = None
    provider: str | None = None
    config: Any = None


class Response(msgspec.Struct, rename="camel"):
    """The provider's answer."""

    output: Any = None
    error: Any = None
    cached: bool | None = None
    cost: float | None = None
    token_usage: TokenUsage | None = None


class TestCase(msgspec.Struct, rename="camel"):
    """The test with one combination of its variables."""

    description: str | None = None
    vars: dict[str, Any] | None = None
    assertions: Any = msgspec.field(default=None, name="assert")


class Grading(msgspec.Struct, rename="camel"):
    """How the answer was judged."""

    reason: str | None = None
    component_results: list[Any] | None = None


class Result(msgspec.Struct, rename="camel"):
    """One test with one prompt by one provider."""

    test_idx: int
    prompt_idx: int
    id: str | None = None
    prompt_id: str | None = None
    provider: Provider = Provider()
    prompt: Prompt = Prompt()
    vars: dict[str, Any] | None = None
    test_case: TestCase | None = None
    response: Response | None = None
    grading_result: Grading | None = None
    error: Any = None
    success: bool = False
    score: float | None = None
    cost: float | None = None
    latency_ms: float | None = None
    named_scores: dict[str, Any] | None = None
    token_usage: TokenUsage | None = None
    failure_reason: int | None = None

    @property
    def reason(self) -> int:
        """SUCCESS, FAILED_CHECK or ERROR; older files do not say it. A failed check fills ``error`` too."""
        if self.failure_reason is not None:
            return self.failure_reason
        if self.success:
            return SUCCESS
        return FAILED_CHECK if self.grading_result is not None else ERROR

    @property
    def test(self) -> str:
        """Hash of what is asked and checked: repeats of a test have the same."""
        case = self.test_case or TestCase()
        asked = case.vars if case.vars is not None else self.vars
        return content_hash([case.description, asked, case.assertions])[:16]


class Stats(msgspec.Struct, rename="camel"):
    """Totals of an evaluation as promptfoo counts them."""

    successes: int | None = None
    failures: int | None = None
    errors: int | None = None
    duration_ms: float | None = None


class Body(msgspec.Struct, rename="camel"):
    """``results`` of a json document."""

    version: int
    timestamp: str | None = None
    prompts: list[Prompt] = []
    results: msgspec.Raw = msgspec.Raw(b"[]")
    stats: Stats | None = None


class Envelope(msgspec.Struct, rename="camel"):
    """A json document but for its results."""

    results: Body
    eval_id: str | None = None
    config: Any = None
    """The test suite as it was written."""
    metadata: Any = None

    def suite(self, name: str) -> Any:
        """A field of the test suite."""
        return self.config.get(name) if isinstance(self.config, dict) else None


@dataclass(frozen=True)
class Results:
    """A file of results, to be gone through as often as needed."""

    path: Path
    envelope: Envelope | None = None
    """None for jsonl."""
    content: bytes = field(default=b"", repr=False)

    def items(self) -> Iterator[tuple[Place, Result | BadLine]]:
        """Results in the order of the file. Raises Unreadable."""
        return self._of_lines() if self.envelope is None else self._of_document(self.envelope)

    def _of_lines(self) -> Iterator[tuple[Place, Result | BadLine]]:
        with json_documents.opened(self.path) as stream:
            try:
                for item in read_objects(read_blocks(stream, offset=0, lines=0), _decode, _decode):
                    if item.value is not None:
                        yield Place(item.number, item.offset), item.value
            except json_documents.BROKEN_STREAM as error:
                raise Unreadable(f"It cannot be read to its end ({error}); copy it again.") from error

    def _of_document(self, envelope: Envelope) -> Iterator[tuple[Place, Result | BadLine]]:
        for element in json_documents.elements(self.content, envelope.results.results):
            yield Place(element.line, element.offset), _understood(element)


_decode = msgspec.json.Decoder(Result).decode


def open_results(path: Path) -> Results:
    """The file, either kind. Raises Unreadable."""
    with json_documents.opened(path) as stream:
        try:
            head = stream.read(1 << 18)
        except json_documents.BROKEN_STREAM as error:
            raise Unreadable(f"It cannot be read to its end ({error}); copy it again.") from error
    if "testIdx" in json_documents.leading_keys(head):
        return Results(path)
    content = json_documents.load(path)
    try:
        envelope = msgspec.json.decode(content, type=Envelope)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(f"{json_documents.why_not(error)}; export the evaluation again.") from error
    version = envelope.results.version
    if version != VERSION:
        remedy = "ingest it with a newer tracemill" if version > VERSION else "export it with promptfoo 0.98 or newer"
        raise Unreadable(f"The results have version {version}, and only version {VERSION} is understood; {remedy}.")
    return Results(path, envelope, content)


def _understood(element: Element) -> Result | BadLine:
    try:
        return _decode(element.raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        return json_documents.bad_element(element, f"Result {element.number}", error)
