"""What kind of failure an error is, and what it has in common with others: six categories, one template a cluster.

The template is the message without what differs from one occurrence to the next (numbers, ids, paths, quoted values),
so equal failures have equal templates, and the cluster's id is the template's hash. A change of these rules changes
ids: it takes a new ``VERSION``.
"""

import hashlib
import re

from pipelines.sources.outputs import FailureCategory

VERSION = "v1"
MAX_TEMPLATE = 500
"""Characters of a message that its template looks at: what an error is stands at its beginning."""

_VARYING = (
    (re.compile(r"\[REDACTED:([^:\]]+):[0-9a-f]+\]"), r"<\1>"),
    (re.compile(r"\b[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}\b", re.IGNORECASE), "<uuid>"),
    (re.compile(r"\b\d{4}-\d\d-\d\d(?:[T ]\d\d:\d\d(?::\d\d(?:\.\d+)?)?(?:Z|[+-]\d\d:?\d\d)?)?"), "<time>"),
    (re.compile(r"\bhttps?://[^\s'\"<>)]+"), "<url>"),
    (re.compile(r"(?<![\w<])(?:[A-Za-z]:)?(?:[/\\][\w.@~+-]+){2,}[/\\]?"), "<path>"),
    (re.compile(r"\b(?:req|msg|call|toolu|chatcmpl|run|task)[_-][A-Za-z0-9_-]{6,}\b"), "<id>"),
    (re.compile(r"\b0x[0-9a-f]+\b|\b(?=[0-9a-f]*\d)(?=\d*[a-f])[0-9a-f]{7,}\b", re.IGNORECASE), "<hex>"),
    (re.compile(r"'[^'\n]{1,200}'|\"[^\"\n]{1,200}\"|`[^`\n]{1,200}`"), "<value>"),
    (re.compile(r"(?<![A-Za-z<])\d+(?:[.,]\d+)*"), "<n>"),
    (re.compile(r"\s+"), " "),
)
_CATEGORIES: tuple[tuple[FailureCategory, re.Pattern[str]], ...] = (
    ("timeout", re.compile(r"time[sd]?[ _-]?out|deadline|time limit|timelimit", re.IGNORECASE)),
    (
        "model_error",
        re.compile(
            r"rate.?limit|overloaded|context.(?:length|window)|token.?limit|max.?tokens|content.?filter|refus"
            r"|\bmodel\b|completion|\bapi.?error|api.?status|\b(?:429|529)\b|llm|openai|anthropic|bad.?request",
            re.IGNORECASE,
        ),
    ),
    ("tool_error", re.compile(r"\btools?\b|function.?call|tool_|command failed|exit (?:code|status)", re.IGNORECASE)),
    (
        "validation_error",
        re.compile(
            r"assert|expect|valid|mismatch|schema|pars(?:e|ing)|json|type.?error|value.?error|incorrect|wrong"
            r"|does not (?:match|contain|equal)|score",
            re.IGNORECASE,
        ),
    ),
    (
        "system_error",
        re.compile(
            r"memory|oom|killed|disk|no space|connect|network|dns|socket|permission|sandbox|docker|container"
            r"|file.?not.?found|no such file|os.?error|runtime.?error|internal server|\b50[0-4]\b|crash|sigkill",
            re.IGNORECASE,
        ),
    ),
)
_ERROR_NAME = re.compile(r"^(?:[\w.]+\.)?([A-Z]\w*(?:Error|Exception|Timeout|Interrupt|Exit|Warning))\b")


def category_of(failure_type: str | None, message: str) -> FailureCategory:
    """The category that the error's name points to, else its message; ``unknown`` where neither does."""
    for text in (failure_type or "", message[:MAX_TEMPLATE]):
        for category, pattern in _CATEGORIES:
            if text and pattern.search(text):
                return category
    return "unknown"


def type_of(message: str) -> str | None:
    """Name of the exception with which a message begins."""
    found = _ERROR_NAME.match(message.lstrip())
    return found.group(1) if found else None


def template_of(message: str) -> str:
    """The message's beginning, what varies replaced by what it is."""
    text = message[:MAX_TEMPLATE]
    for pattern, name in _VARYING:
        text = pattern.sub(name, text)
    return text.strip()


def cluster_of(failure_type: str, template: str) -> str:
    """Id of all failures of one type and template."""
    digest = hashlib.sha256(f"{failure_type}\x00{template}".encode("utf-8", "surrogatepass")).hexdigest()
    return f"{VERSION}:{digest[:16]}"
