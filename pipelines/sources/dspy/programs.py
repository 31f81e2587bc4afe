"""Programs as DSPy dumps them: the state of each predictor by its path in the module."""

from dataclasses import dataclass
from typing import Any

from pipelines.sources.outputs import content_hash


@dataclass(frozen=True)
class Program:
    """State of a program, without what only says how it was saved."""

    state: dict[str, Any]
    versions: dict[str, Any]
    """Of Python and packages, where the file has them."""

    @property
    def hash(self) -> str:
        """The same for the same instructions, demonstrations and settings, wherever they are found."""
        return content_hash(self.state)

    @property
    def model(self) -> str | None:
        """Model that the program is bound to; None where it takes whatever is configured."""
        bound = (_get(_get(part, "lm"), "model") for part in self.state.values())
        return next((str(model) for model in bound if model), None)

    def with_instructions(self, instructions: dict[str, str]) -> "Program | None":
        """The program with other instructions; None where it lacks one of the predictors."""
        state = dict(self.state)
        for name, text in instructions.items():
            part = _get(self.state, name)
            if not isinstance(part, dict) or not isinstance(signature := part.get("signature"), dict):
                return None
            state[name] = part | {"signature": signature | {"instructions": text}}
        return Program(state, self.versions)


def program_of(value: Any) -> Program | None:
    """The program in a saved file, an exported attribute or a dumped state; None where there is none."""
    if isinstance(value, dict) and "__module_state__" in value:
        value = value["__module_state__"]
    if not isinstance(value, dict) or not any(isinstance(_get(part, "demos"), list) for part in value.values()):
        return None
    versions = _get(value.get("metadata"), "dependency_versions")
    state = {name: part for name, part in value.items() if name != "metadata"}
    return Program(state, versions if isinstance(versions, dict) else {})


def _get(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
