"""Tokens of a prompt by kind, from tools that disagree whether their input count includes what came from a cache."""


def uncached(prompt: int, output: int, total: int, cached: int) -> int:
    """Prompt tokens that neither came from a provider's cache nor went into it.

    ``cached`` counts both; where ``total`` is prompt and output alone, the prompt includes them.
    """
    return prompt - cached if total == prompt + output and cached <= prompt else prompt
