"""Logs of coding agents in the corpus; a row belongs to the file in which it was seen first."""

from tests.corpus_contents.entries import logs

_PROJECTS = "claude_code/projects"
_CLEAR = f"{_PROJECTS}/claudeless--clear-command/5bd47723-950c-4c20-917e-77acb15dc4ea"
_COMPACT = f"{_PROJECTS}/claudeless--compact-command/8aa54c1d-5030-4491-be42-e0c416424b8a"
_START = f"{_PROJECTS}/claudeless--hook-session-start/5158bdb4-602c-4c9d-a0c3-b56224e08115"
_STOP = f"{_PROJECTS}/claudeless--hook-stop/d266fdf5-b6a3-46aa-8627-920959a0109a"
_SPOTTER_1 = f"{_PROJECTS}/spotter/258c7280-ae70-4798-800f-63464d01a85d"
_SPOTTER_2 = f"{_PROJECTS}/spotter/4d5611e5-241a-462a-8d15-5122611a9569"
_STREAM = "claude_stream_json"

CONTENTS = {
    f"{_PROJECTS}/bastion/3065c678-2605-4707-9a03-a9c2b0cf758e.jsonl": logs("claude_code", 1, 6, 5),
    f"{_PROJECTS}/ccusage--project-alpha/session-alpha/chat.jsonl": logs("claude_code", 1, 3, 0),
    f"{_PROJECTS}/ccusage--project-beta/session-beta/chat.jsonl": logs("claude_code", 1, 2, 0),
    f"{_PROJECTS}/claude-code-log--test_data/edge_cases.jsonl": logs("claude_code", 4, 4, 2, quarantined=4),
    f"{_PROJECTS}/claude-code-log--test_data/representative_messages.jsonl": logs("claude_code", 4, 5, 2),
    f"{_PROJECTS}/claude-code-log--test_data/session_b.jsonl": logs("claude_code", 2, 1, 0),
    f"{_PROJECTS}/claude-code-log--test_data/todowrite_examples.jsonl": logs("claude_code", 2, 5, 3),
    f"{_PROJECTS}/claude-code-viewer/1af7fc5e-8455-4414-9ccd-011d40f70b2a.jsonl": logs("claude_code", 1, 7, 12),
    f"{_PROJECTS}/claude-code-viewer/5c0375b4-57a5-4f26-b12d-d022ee4e51b7.jsonl": logs("claude_code", 1, 20, 21),
    f"{_PROJECTS}/claude-reliability--coverage-test-fix/c64cc478-3430-40fe-8e9c-4ee9986e9754.jsonl": logs(
        "claude_code", 1, 14, 13
    ),
    f"{_PROJECTS}/claude-reliability--stop-hook-fast-path-clean/063004b7-9c12-446a-a977-ca545d9e3cac.jsonl": logs(
        "claude_code", 1, 2, 1
    ),
    f"{_PROJECTS}/claudeless--after-response/a79fb876-52bb-493d-9244-59c0f78b08b7.jsonl": logs("claude_code", 1, 0, 0),
    f"{_CLEAR}.jsonl": logs("claude_code", 2, 2, 0),
    f"{_CLEAR}/subagents/agent-aprompt_suggestion-0c54a2.jsonl": logs("claude_code", 0, 0, 0),
    f"{_CLEAR}/subagents/agent-aprompt_suggestion-7e2a96.jsonl": logs("claude_code", 0, 0, 0),
    f"{_PROJECTS}/claudeless--clear-command/5c91b750-86c7-44d8-bb93-e5046ff2c302.jsonl": logs("claude_code", 2, 0, 0),
    f"{_COMPACT}.jsonl": logs("claude_code", 4, 2, 0),
    f"{_COMPACT}/subagents/agent-aprompt_suggestion-029c25.jsonl": logs("claude_code", 0, 0, 0),
    f"{_COMPACT}/subagents/agent-aprompt_suggestion-e6d768.jsonl": logs("claude_code", 0, 0, 0),
    f"{_PROJECTS}/claudeless--context-usage/638edc21-61f5-4a3e-8f7a-18bfbe584ce2.jsonl": logs("claude_code", 2, 0, 0),
    f"{_PROJECTS}/claudeless--exit-autocomplete/d0673466-50d8-448d-93bd-af7736fcf698.jsonl": logs(
        "claude_code", 1, 0, 0
    ),
    f"{_PROJECTS}/claudeless--help-commands-tab/6bc18378-4135-4bc8-b355-a1a06bab3959.jsonl": logs(
        "claude_code", 1, 0, 0
    ),
    f"{_START}.jsonl": logs("claude_code", 2, 2, 1),
    f"{_START}/subagents/agent-aprompt_suggestion-952074.jsonl": logs("claude_code", 0, 0, 0),
    f"{_STOP}.jsonl": logs("claude_code", 3, 3, 1),
    f"{_STOP}/subagents/agent-aprompt_suggestion-637414.jsonl": logs("claude_code", 0, 0, 0),
    f"{_STOP}/subagents/agent-aprompt_suggestion-959e66.jsonl": logs("claude_code", 0, 0, 0),
    f"{_PROJECTS}/claudeless--model-haiku/d108d7b3-ab6d-4ca8-85a9-dfb59ed77168.jsonl": logs("claude_code", 2, 1, 0),
    f"{_PROJECTS}/claudeless--plan-command-enable/a3b7d1ef-7b3a-4695-9108-ad96a8b2a514.jsonl": logs(
        "claude_code", 2, 0, 0
    ),
    f"{_PROJECTS}/claudeless--shell-mode/f5e1f234-e88e-41da-80fa-714c84819d52.jsonl": logs("claude_code", 1, 0, 0),
    f"{_PROJECTS}/claudeless--todos-empty/585999bc-21c8-4d01-9f59-17eb6d249ad2.jsonl": logs("claude_code", 2, 0, 0),
    f"{_PROJECTS}/claudeless--write-permission-dialog/91348717-fea3-46ed-a511-2370f1aaa5b7.jsonl": logs(
        "claude_code", 2, 1, 1
    ),
    f"{_SPOTTER_1}.jsonl": logs("claude_code", 2, 152, 186),
    f"{_SPOTTER_1}/subagents/agent-a881341.jsonl": logs("claude_code", 0, 3, 2),
    f"{_SPOTTER_1}/subagents/agent-acompact-fffbd0.jsonl": logs("claude_code", 0, 1, 0),
    f"{_SPOTTER_2}.jsonl": logs("claude_code", 2, 139, 150),
    f"{_SPOTTER_2}/subagents/agent-a2898e3.jsonl": logs("claude_code", 0, 12, 33),
    f"{_SPOTTER_2}/subagents/agent-acompact-e1f845.jsonl": logs("claude_code", 0, 1, 0),
    f"{_PROJECTS}/spotter/short.jsonl": logs("claude_code", 2, 1, 2),
    f"{_PROJECTS}/spotter/tool_heavy.jsonl": logs("claude_code", 4, 4, 6),
    f"{_PROJECTS}/yatra/3eb140c2-79cb-4354-875b-beb7f34e24d9.jsonl": logs("claude_code", 1, 1, 1),
    f"{_STREAM}/morpheus/claude_stream.jsonl": logs("stream_json", 1, 4, 1),
    f"{_STREAM}/trackgentic/mp9r3tc5.jsonl": logs("stream_json", 1, 0, 0),
    f"{_STREAM}/trackgentic/mp9r437x.jsonl": logs("stream_json", 1, 14, 18),
    f"{_STREAM}/trackgentic/mp9xlpc0.jsonl": logs("stream_json", 1, 35, 39),
    f"{_STREAM}/trackgentic/mp9ygklz.jsonl": logs("stream_json", 1, 1, 3),
    f"{_STREAM}/trackgentic/mp9yi4nb.jsonl": logs("stream_json", 1, 10, 15),
    f"{_STREAM}/trackgentic/mp9zkemo.jsonl": logs("stream_json", 1, 11, 13),
    f"{_STREAM}/trackgentic/mp9zkenj.jsonl": logs("stream_json", 1, 60, 66),
    f"{_STREAM}/trackgentic/mpa014m2.jsonl": logs("stream_json", 1, 11, 13),
    "codex/raze/rollout-codex-session.jsonl": logs("codex", 1, 18, 38),
}
