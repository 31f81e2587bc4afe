"""Opens logs through ``inspect_ai``, the only module that does; whatever it raises becomes one clear sentence.

An ``.eval`` log is read sample by sample from its archive. A ``.json`` log is cut into its samples first, which are
then handed to the library a few at a time: decoded as a whole it would take many times its size.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from io import BytesIO
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Literal
from zipfile import BadZipFile, ZipFile

import msgspec

from pipelines.sources import json_documents
from pipelines.sources.json_documents import Element
from pipelines.sources.outputs import Unreadable
from pipelines.sources.records import BadLine

if TYPE_CHECKING:
    from inspect_ai.log import EvalLog, EvalSample, EvalSampleSummary

LATEST_VERSION = 3
"""Newest layout of logs that has been seen and is understood."""

_EVAL_BATCH = 16
_JSON_BATCH_BYTES = 4 << 20
_NOT_NEEDED = {"store", "timelines", "setup", "files"}
_SAMPLE_NAME = re.compile(r"samples/(.+)_epoch_(\d+)\.json")
_STRING_OR_NAN = re.compile(rb'"(?:[^"\\]|\\.)*"|(-?(?:NaN|Infinity)\b)', re.DOTALL)
_UPGRADE = "pip install --upgrade inspect-ai"


@dataclass(frozen=True)
class Log:
    """A log of which the header has been read."""

    path: Path
    format: Literal["eval", "json"]
    header: "EvalLog"
    members: Sequence[str] = ()
    """Names in the archive of an ``.eval`` log."""
    content: bytes = b""
    """All of a ``.json`` log."""
    parts: Mapping[str, msgspec.Raw] = field(default_factory=dict)
    """Its fields, not decoded."""


def open_log(path: Path) -> Log:
    """The log with its header. Raises Unreadable."""
    with path.open("rb") as file:
        is_archive = file.read(2) == b"PK"
    return _open_archive(path) if is_archive else _open_json(path)


def samples(log: Log) -> "Iterator[EvalSample | EvalSampleSummary | BadLine]":
    """All samples of the log; of those not written yet, what its journal says. Raises Unreadable."""
    return _of_archive(log) if log.format == "eval" else _of_json(log)


def _open_archive(path: Path) -> Log:
    try:
        with ZipFile(path) as archive:
            members = list(dict.fromkeys(archive.namelist()))
    except (BadZipFile, ValueError, NotImplementedError) as error:
        raise Unreadable(
            "The archive ends in the middle or is damaged; copy the log again, or wait until it has been written."
        ) from error
    if not {"header.json", "_journal/start.json"} & set(members):
        raise Unreadable("The archive has neither header.json nor _journal/start.json; restore the log it was.")
    inspect = _library()
    try:
        header: EvalLog = inspect.read_eval_log(path, header_only=True, format="eval")
    except Exception as error:
        raise Unreadable(_refused("header", error)) from error
    _check_version(header.version)
    return Log(path, "eval", header, members)


def _open_json(path: Path) -> Log:
    content = json_documents.load(path)
    try:
        content, parts = _parts(content)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise Unreadable(
            f"{json_documents.why_not(error)}; copy the log again, or wait until it has been written."
        ) from error
    version = parts.get("version")
    if version is not None and (digits := bytes(version)).isdigit():
        _check_version(int(digits))
    header = _read_json({name: part for name, part in parts.items() if name not in ("samples", "reductions")})
    return Log(path, "json", header, content=content, parts=parts)


def _of_archive(log: Log) -> "Iterator[EvalSample | EvalSampleSummary | BadLine]":
    keys = []
    for name in log.members:
        if found := _SAMPLE_NAME.fullmatch(name):
            keys.append((found.group(1), int(found.group(2))))
        elif name.startswith("samples/"):
            yield _bad(f"The member {name!r}", ValueError("its name has no id and epoch"))
    for start in range(0, len(keys), _EVAL_BATCH):
        yield from _read_members(log, keys[start : start + _EVAL_BATCH])
    if "header.json" in log.members:
        return
    written = set(keys)
    try:
        summaries = _library().read_eval_log_sample_summaries(log.path, format="eval")
    except Exception as error:
        yield _bad("The journal of samples", error)
        return
    yield from (summary for summary in summaries if (str(summary.id), summary.epoch) not in written)


def _read_members(log: Log, keys: Sequence[tuple[str, int]]) -> "Iterator[EvalSample | BadLine]":
    """The samples of a batch; where one of them cannot be read, one after the other."""
    try:
        yield from _library().read_eval_log_samples_by_id(
            log.path, keys, resolve_attachments="core", format="eval", exclude_fields=_NOT_NEEDED
        )
    except Exception as error:
        if len(keys) == 1:
            yield _bad(f"Sample {keys[0][0]!r} of epoch {keys[0][1]}", error)
            return
        for key in keys:
            yield from _read_members(log, [key])


def _of_json(log: Log) -> "Iterator[EvalSample | BadLine]":
    header = {name: log.parts[name] for name in ("version", "status", "eval", "results") if name in log.parts}
    batch: list[Element] = []
    size = 0
    array = log.parts.get("samples")
    if array is None or bytes(array) == b"null":
        return
    for element in json_documents.elements(log.content, array):
        batch.append(element)
        size += len(element.raw)
        if size >= _JSON_BATCH_BYTES:
            yield from _read_elements(header, batch)
            batch, size = [], 0
    if batch:
        yield from _read_elements(header, batch)


def _read_elements(header: dict[str, msgspec.Raw], batch: Sequence[Element]) -> "Iterator[EvalSample | BadLine]":
    """The samples of a batch; where one of them cannot be read, one after the other."""
    array = b"[" + b",".join(element.raw for element in batch) + b"]"
    try:
        yield from _read_json(header | {"samples": msgspec.Raw(array)}).samples or []
    except Unreadable as error:
        if len(batch) == 1:
            yield json_documents.bad_element(
                batch[0], f"Sample {batch[0].number}", ValueError(_reason(error.__cause__ or error))
            )
            return
        for element in batch:
            yield from _read_elements(header, [element])


def _read_json(parts: dict[str, msgspec.Raw]) -> "EvalLog":
    try:
        log: EvalLog = _library().read_eval_log(
            BytesIO(msgspec.json.encode(parts)), format="json", resolve_attachments="core"
        )
    except Exception as error:
        raise Unreadable(_refused("header", error)) from error
    return log


def _parts(content: bytes) -> tuple[bytes, dict[str, msgspec.Raw]]:
    """The fields of a log, not decoded yet, and the content they are from.

    Unscored samples have the score NaN, which is no JSON: it becomes a string, which the library takes too.
    """
    try:
        return content, msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    except msgspec.DecodeError:
        mended = _STRING_OR_NAN.sub(
            lambda found: found.group() if found.group(1) is None else b'"%s"' % found.group(), content
        )
        if mended == content:
            raise
        return mended, msgspec.json.decode(mended, type=dict[str, msgspec.Raw])


def _check_version(version: int) -> None:
    if version > LATEST_VERSION:
        raise Unreadable(
            f"The log has version {version}; up to {LATEST_VERSION} is understood. Ingest it with a newer tracemill."
        )


def _library() -> ModuleType:
    try:
        return import_module("inspect_ai.log")
    except ImportError as error:
        raise Unreadable(
            "Logs of Inspect are read by the package inspect-ai, which is not installed; "
            "install it with: pip install 'tracemill[inspect]'"
        ) from error


def _refused(part: str, error: Exception) -> str:
    return (
        f"Its {part} is not understood by inspect-ai: {_reason(error)}. Where the log is from a newer Inspect, "
        f"{_UPGRADE}; else restore it."
    )


def _bad(what: str, error: Exception) -> BadLine:
    detail = f"{what} cannot be read: {_reason(error)}. The others are loaded; restore the log and ingest it again."
    return BadLine(0, 0, 0, "unexpected_shape", detail, b"")


def _reason(error: BaseException) -> str:
    """The first thing wrong, in one line."""
    if isinstance(error, BaseExceptionGroup):
        return _reason(error.exceptions[0])
    if callable(errors := getattr(error, "errors", None)) and (found := errors()):
        where = ".".join(str(step) for step in found[0]["loc"])
        return f"{where or 'it'}: {found[0]['msg']}"
    return (str(error).strip().split("\n")[0] or type(error).__name__)[:300].rstrip(".")
