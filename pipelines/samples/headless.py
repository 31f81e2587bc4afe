"""The output of a headless run (``stream-json``), made from the transcript that the same run left.

Both tell the same work: whoever counts them must count it once. The stream has no clock on the model's lines and
shows the output tokens of the stream's start; only its last line sums up what was used.
"""

import json
from typing import Any

from pipelines.samples.truth import Usage

MODEL = "claude-haiku-4-5-20251001"
_USD_PER_MILLION = {"input": 1.0, "output": 5.0, "cache_read": 0.1, "cache_write_5m": 1.25, "web_search": 10_000.0}


def cost_usd(usage: Usage) -> float:
    """What the client reports for ``MODEL``, whose cache writes live five minutes here."""
    return (
        usage.input_tokens * _USD_PER_MILLION["input"]
        + usage.output_tokens * _USD_PER_MILLION["output"]
        + usage.cache_read_tokens * _USD_PER_MILLION["cache_read"]
        + usage.cache_creation_5m_tokens * _USD_PER_MILLION["cache_write_5m"]
        + usage.web_search_requests * _USD_PER_MILLION["web_search"]
    ) / 1_000_000


def stream_lines(transcript: list[str], usage: Usage, *, was_killed: bool) -> list[str]:
    """Lines of the run's stream; a killed run has no result line."""
    entries = [json.loads(line) for line in transcript]
    first = next(entry for entry in entries if "cwd" in entry)
    session_id = first["sessionId"]
    lines = [
        {
            "type": "system", "subtype": "init", "cwd": first["cwd"], "session_id": session_id,
            "tools": ["Bash", "Read"],
            "mcp_servers": [], "model": MODEL, "permissionMode": "default", "claude_code_version": first["version"],
            "uuid": first["uuid"],
        }
    ]  # fmt: skip
    lines += [converted for entry in entries if (converted := _convert(entry, session_id))]
    if not was_killed:
        lines.append(_result(session_id, usage, lines[-1]["uuid"]))
    return [json.dumps(line, ensure_ascii=False, separators=(",", ":")) for line in lines]


def _convert(entry: dict[str, Any], session_id: str) -> dict[str, Any] | None:
    common = {"parent_tool_use_id": None, "session_id": session_id, "uuid": entry.get("uuid")}
    if entry["type"] == "assistant":
        usage = {key: value for key, value in entry["message"]["usage"].items() if key.endswith("tokens")}
        message = entry["message"] | {"stop_reason": None, "usage": usage | {"output_tokens": 1}}
        return {"type": "assistant", "message": message, **common, "request_id": entry["requestId"]}
    if entry["type"] == "user" and "toolUseResult" in entry:
        return {"type": "user", "message": entry["message"], **common, "timestamp": entry["timestamp"]}
    return None


def _result(session_id: str, usage: Usage, line_id: str) -> dict[str, Any]:
    return {
        "type": "result", "subtype": "success", "is_error": False, "duration_ms": 1000 * usage.requests,
        "duration_api_ms": 900 * usage.requests, "num_turns": usage.requests, "result": "Done.",
        "stop_reason": "end_turn",
        "session_id": session_id, "total_cost_usd": cost_usd(usage),
        "usage": {
            "input_tokens": usage.input_tokens, "cache_creation_input_tokens": usage.cache_creation_5m_tokens,
            "cache_read_input_tokens": usage.cache_read_tokens, "output_tokens": usage.output_tokens,
        },
        "modelUsage": {
            MODEL: {
                "inputTokens": usage.input_tokens, "outputTokens": usage.output_tokens,
                "cacheReadInputTokens": usage.cache_read_tokens,
                "cacheCreationInputTokens": usage.cache_creation_5m_tokens,
                "webSearchRequests": usage.web_search_requests, "costUSD": cost_usd(usage), "contextWindow": 200_000,
            }
        },
        "permission_denials": [], "terminal_reason": "completed", "uuid": line_id,
    }  # fmt: skip
