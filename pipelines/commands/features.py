"""Parsed command → the 17 features of ``command_features``, every one of them always present.

The thresholds are those of the system that this analysis comes from; ``cache_heavy`` and ``parallel_friendly`` are
expectations from the words alone, not measurements.
"""

from collections.abc import Iterable
from typing import Any, Final

from pipelines.commands.grammar import TEST_TYPES, Arguments

_VERBS: Final = {
    "test": "test tests testing retest verify validate coverage pytest jest",
    "deploy": "deploy deploys deploying release rollback ship publish",
    "analyze": "analyze analyse analysis review investigate audit explain debug diagnose inspect profile compare why "
    "understand check evaluate assess research",
    "write": "write create add implement build fix refactor generate update edit change make migrate rename remove "
    "delete rewrite convert develop extend improve replace design plan",
    "maintenance": "clean cleanup refresh commit optimize optimise upgrade lint format init compact clear bump tidy "
    "merge rebase sync install exit quit login logout config model resume",
    "read": "read show list find search what where which who how help status context get print display describe "
    "summarize summarise tell todos cost ls cat grep pwd head tail rg",
}
OPERATIONS: Final = {verb: operation for operation, verbs in _VERBS.items() for verb in verbs.split()}
_VERB_WEIGHT: Final = {"deploy": 3.0, "write": 3.0, "test": 2.5, "analyze": 2.5, "maintenance": 2.0, "read": 2.0}
_BREADTH_FACTOR: Final = {"broad": 2.0, "medium": 1.5, "narrow": 1.0}
_READING: Final = frozenset({"test", "analyze", "read"})


def operation_of(words: Iterable[str]) -> str:
    """Operation of the first word that names one, ``other`` where none does."""
    for word in words:
        if operation := OPERATIONS.get(word):
            return operation
    return "other"


def test_type_of(words: Iterable[str]) -> str | None:
    """First kind of test that the words name."""
    return next((TEST_TYPES[word][1] for word in words if word in TEST_TYPES), None)


def features(base: str | None, parsed: Arguments, operation: str) -> dict[str, Any]:
    """The 17 features. ``estimated_complexity`` is 0 to 10; 4 and 7 part short, medium and long."""
    targets, components = len(parsed.targets), len(parsed.components)
    if parsed.scope == "all" or targets > 3 or components > 2:
        breadth = "broad"
    else:
        breadth = "medium" if targets > 1 or components else "narrow"
    kinds = sum(map(bool, (parsed.priority, components, targets, parsed.flags)))
    complexity = (1 + _VERB_WEIGHT.get(operation, 0.0)) * _BREADTH_FACTOR[breadth] + 0.5 * components
    complexity = min(10.0, complexity + (parsed.priority in ("p0", "critical")))
    return {
        "base_command": base,
        "arg_count": parsed.word_count,
        "has_multiple_targets": targets > 1,
        "target_count": targets,
        "test_type": parsed.test_type,
        "scope_breadth": breadth,
        "operation_type": operation,
        "has_compound_criteria": parsed.complex_condition,
        "specificity_level": "high" if kinds >= 3 else "medium" if kinds else "low",
        "estimated_complexity": complexity,
        "affects_components": parsed.components,
        "component_count": components,
        "priority_level": parsed.priority,
        "is_high_priority": parsed.priority in ("p0", "critical", "p1", "high"),
        "parallel_friendly": operation in _READING and targets + components > 1,
        "cache_heavy": operation in _READING and breadth != "narrow",
        "expected_duration_category": "long" if complexity >= 7 else "medium" if complexity >= 4 else "short",
    }
