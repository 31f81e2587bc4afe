"""What a transcript says was done: which lines open an execution, what belongs to it, how it ended."""

from datetime import timedelta

import pytest
from source_files import CAVEAT, START, Transcript, chunks_of, only, read, text, tool

from pipelines.sources.records import stable_uuid

SUMMARY = "This session is being continued from a previous conversation."


def opened(transcript: Transcript) -> list[tuple[str, str | None, str]]:
    return [(e.kind, e.command_name, e.command) for e in read(transcript).listed]


def ending(transcript: Transcript) -> tuple[str, str]:
    execution = read(transcript).listed[0]
    return execution.status, execution.status_reason


@pytest.mark.parametrize("content", ["Fix the build", [text("Fix the build")]])
def test_text_that_was_typed_is_a_prompt(content):
    assert opened(Transcript().user(content)) == [("prompt", None, "Fix the build")]


def test_an_image_alone_is_a_prompt_without_words():
    assert opened(Transcript().user([{"type": "image", "source": {}}])) == [("prompt", None, "")]


@pytest.mark.parametrize(
    "tags",
    [
        "<command-message>deploy is running…</command-message>\n<command-name>/deploy</command-name>\n"
        "<command-args>prod --dry-run</command-args>",
        "<command-name>/deploy</command-name>\n            <command-message>deploy</command-message>\n"
        "            <command-args>prod --dry-run</command-args>",
        "<command-name>deploy</command-name><command-args> prod --dry-run </command-args>"
        "<command-contents>{}</command-contents>",
    ],
)
def test_command_tags_in_any_order_are_a_slash_command_with_its_expansion(tags):
    transcript = Transcript().user(tags).user([text("Deploy prod please.")], isMeta=True).assistant(text("Done."))
    assert opened(transcript) == [("slash", "/deploy", "/deploy prod --dry-run")]
    assert ending(transcript) == ("completed", "answered")


def test_arguments_may_be_absent_and_may_hold_tags():
    assert opened(Transcript().user("<command-name>/init</command-name>")) == [("slash", "/init", "/init")]
    nested = "<command-name>/ask</command-name><command-args>what is </command-args> for?</command-args>"
    assert opened(Transcript().user(nested)) == [("slash", "/ask", "/ask what is </command-args> for?")]


def test_a_built_in_command_is_local_and_done_at_once():
    transcript = (
        Transcript()
        .user(CAVEAT, isMeta=True)
        .user("<command-name>/clear</command-name>")
        .user("<local-command-stdout></local-command-stdout>")
        .user("What next?")
    )
    assert opened(transcript) == [("local", "/clear", "/clear"), ("prompt", None, "What next?")]
    assert ending(transcript) == ("completed", "local")


def test_a_local_command_as_system_line_takes_its_output_line_with_it():
    transcript = (
        Transcript()
        .event("system", subtype="local_command", content="<command-name>/help</command-name>")
        .event("system", subtype="local_command", content="<local-command-stdout>dismissed</local-command-stdout>")
    )
    execution = only(read(transcript))
    assert (execution.kind, execution.command, execution.status) == ("local", "/help", "completed")
    assert execution.ended_at - execution.timestamp == timedelta(seconds=1)


def test_a_local_command_that_fails_says_why():
    transcript = (
        Transcript()
        .user(CAVEAT, isMeta=True)
        .user("<command-name>/mcp</command-name>")
        .user("<local-command-stderr>no such server</local-command-stderr>")
    )
    execution = only(read(transcript))
    assert (execution.status, execution.status_reason, execution.error_message) == (
        "failed", "local_error", "no such server",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("stderr", "status", "reason"), [("", "completed", "bash"), ("ls: no such file", "failed", "bash_stderr")]
)
def test_bash_mode_fails_by_its_error_output_also_when_the_model_comments_on_it(stderr, status, reason):
    transcript = (
        Transcript()
        .user("<bash-input>ls /nope</bash-input>")
        .user(f"<bash-stdout></bash-stdout><bash-stderr>{stderr}</bash-stderr>")
        .assistant(text("I see."))
    )
    execution = only(read(transcript))
    assert (execution.kind, execution.command_name, execution.command) == ("bash", "!bash", "ls /nope")
    assert (execution.status, execution.status_reason, execution.error_message) == (status, reason, stderr or None)


def test_bash_mode_without_output_so_far_is_pending():
    assert ending(Transcript().user("<bash-input>sleep 99</bash-input>")) == ("pending", "no_answer")


@pytest.mark.parametrize(
    ("content", "fields"),
    [
        ("Expanded text", {"isMeta": True}),
        (SUMMARY, {"isCompactSummary": True, "isVisibleInTranscriptOnly": True}),
        (SUMMARY, {"isVisibleInTranscriptOnly": True}),
        ("Look into the tests", {"isSidechain": True}),
        ("Look into the tests", {"isSidechain": True, "agentId": "a1"}),
        ([{"type": "tool_result", "tool_use_id": "t0", "content": "ok"}], {}),
        ("<local-command-stdout>ok</local-command-stdout>", {}),
        ("<bash-stdout>ok</bash-stdout><bash-stderr></bash-stderr>", {}),
        ("[Request interrupted by user]", {}),
        ([text("[Request interrupted by user for tool use]")], {}),
        ("<task-notification>\n<task-id>b1</task-id></task-notification>", {}),
        (CAVEAT, {}),
        ("  \n", {}),
        ([], {}),
        (["odd"], {"toolUseResult": "odd"}),
    ],
)
def test_what_the_client_writes_in_the_users_name_opens_nothing(content, fields):
    transcript = (
        Transcript().user("Go").assistant(text("Going.")).user(content, **fields).assistant(text("On."), id="m2")
    )
    assert opened(transcript) == [("prompt", None, "Go")]
    assert len(read(transcript).requests) == 2


def test_a_queued_prompt_counts_by_its_user_line_only():
    transcript = (
        Transcript()
        .user("Go")
        .line(type="queue-operation", operation="enqueue", content="and then?", sessionId="s")
        .line(type="queue-operation", operation="dequeue", sessionId="s")
        .user("and then?")
        .line(type="queue-operation", operation="enqueue", content="folded into the turn", sessionId="s")
        .line(type="queue-operation", operation="remove", sessionId="s")
        .assistant(text("Done."))
    )
    assert [command for _, _, command in opened(transcript)] == ["Go", "and then?"]


def test_work_without_its_command_is_an_orphan_named_after_the_session():
    records = read(Transcript("s1").assistant(text("Going on.")).user("Next").assistant(text("Yes."), id="m2"))
    orphan, prompt = records.listed
    assert (orphan.kind, orphan.id, orphan.status) == ("orphan", stable_uuid("orphan:s1"), "completed")
    assert prompt.command == "Next"
    assert {request.execution_id for request in records.requests.values()} == {orphan.id, prompt.id}


def test_inline_sidechains_belong_to_the_command_around_them():
    records = read(
        Transcript()
        .user("Go")
        .assistant(tool("t1", "Task"))
        .user("Look into the tests", isSidechain=True)
        .assistant(text("Found."), id="side", isSidechain=True, isApiErrorMessage=True)
        .result("t1")
        .assistant(text("Done."), id="m2")
    )
    execution = only(records)
    assert {r.execution_id for r in records.requests.values()} == {execution.id}
    assert [r.agent_id for r in records.requests.values()] == [None, "inline", None]
    assert execution.status == "completed"


def test_a_subagents_file_gives_work_to_be_attributed_and_no_execution():
    prompt = "aaaaaaaa-0000-4000-8000-000000000000"
    agent = Transcript(isSidechain=True, agentId="a77")
    agent.user("Look", promptId=prompt).assistant(tool("t9"), id="m9").result("t9")
    records = read(agent)
    assert not records.executions
    [request], [call] = records.requests.values(), records.tools.values()
    assert (request.execution_id, request.agent_id, request.prompt_id) == (None, "a77", prompt)
    assert (call.execution_id, call.agent_id, call.prompt_id, call.status) == (None, "a77", prompt, "ok")


def test_the_tool_call_that_started_a_subagent_names_it():
    by_result = Transcript().user("Go").assistant(tool("t1", "Agent")).result("t1", toolUseResult={"agentId": "a77"})
    by_progress = (
        Transcript()
        .user("Go")
        .assistant(tool("t1", "Task"))
        .event("progress", parentToolUseID="t1", data={"type": "agent_progress", "agentId": "a77", "message": {}})
    )
    for transcript in (by_result, by_progress):
        assert read(transcript).tools["t1"].spawned_agent_id == "a77"


@pytest.mark.parametrize(
    ("transcript", "expected"),
    [
        (Transcript().user("Go"), ("pending", "no_answer")),
        (Transcript().user("Go").user("Again").assistant(text("Yes.")), ("pending", "no_answer")),
        (Transcript().user("Go").assistant(tool("t1")), ("pending", "unanswered_tool")),
        (Transcript().user("Go").assistant(tool("t1")).user("Again"), ("completed", "answered")),
        (Transcript().user("Go").assistant(tool("t1")).result("t1", is_error=True), ("completed", "answered")),
        (Transcript().user("Go").user("[Request interrupted by user]"), ("cancelled", "interrupted")),
        (
            Transcript()
            .user("Go")
            .assistant(text("…"))
            .user("[Request interrupted by user]")
            .assistant(text("!"), id="m2"),
            ("completed", "answered"),
        ),
        (Transcript().user("Go").assistant(text("Overloaded"), isApiErrorMessage=True), ("failed", "api_error")),
        (
            Transcript()
            .user("Go")
            .assistant(text("Overloaded"), isApiErrorMessage=True)
            .assistant(text("Done."), id="m2"),
            ("completed", "answered"),
        ),
    ],
)  # fmt: skip
def test_the_end_decides_the_status(transcript, expected):
    assert ending(transcript) == expected


def test_an_api_error_leaves_its_text_and_no_tokens():
    records = read(
        Transcript()
        .user("Go")
        .assistant(text("API Error: 529"), model="<synthetic>", usage={"output_tokens": 0}, isApiErrorMessage=True)
    )
    assert only(records).error_message == "API Error: 529"
    [request] = records.requests.values()
    assert (request.is_synthetic, request.output_tokens, request.is_output_reliable) == (True, 0, True)


def test_a_prompts_identity_is_its_prompt_id_else_the_uuid_of_its_line():
    prompt = "aaaaaaaa-0000-4000-8000-000000000000"
    records = read(
        Transcript()
        .user("Go", promptId=prompt, uuid="bbbbbbbb-0000-4000-8000-000000000001")
        .user("<bash-input>ls</bash-input>", promptId=prompt, uuid="bbbbbbbb-0000-4000-8000-000000000002")
        .user("Same prompt id", promptId=prompt, uuid="bbbbbbbb-0000-4000-8000-000000000003")
        .user("No prompt id", uuid="not-a-uuid")
        .user("Nothing at all", uuid=None)
    )
    assert [e.id for e in records.listed[:4]] == [
        prompt,
        "bbbbbbbb-0000-4000-8000-000000000002",
        "bbbbbbbb-0000-4000-8000-000000000003",
        stable_uuid("not-a-uuid"),
    ]
    assert len(records.executions) == 5


def test_bash_mode_never_takes_the_prompt_id_it_repeats():
    line = Transcript().user("<bash-input>ls</bash-input>", promptId="aaaaaaaa-0000-4000-8000-000000000000")
    assert only(read(line)).id == "00000000-0000-4000-8000-000000000001"


def test_a_caveat_announces_one_command_only():
    transcript = Transcript().user(CAVEAT, isMeta=True).user("<command-name>/clear</command-name>")
    transcript.user("<command-name>/deploy</command-name>")
    assert [(e.kind, e.status) for e in read(transcript).listed] == [("local", "completed"), ("slash", "pending")]


def test_an_execution_says_where_it_stands_and_what_surrounded_it():
    transcript = Transcript().line(type="file-history-snapshot", messageId="m").user("One").user(
        "Two", permissionMode="plan", entrypoint="cli"
    )  # fmt: skip
    data = bytes(transcript)
    one, two = read(transcript).listed
    assert (one.line, one.sequence, two.line, two.sequence) == (2, 1, 3, 2)
    assert data[two.offset :].startswith(transcript.lines[2].encode())
    assert two.workspace == {"cwd": "/work/shop", "git_branch": "main"}
    assert two.session == {"version": "2.1.197", "permission_mode": "plan", "entrypoint": "cli"}
    assert (two.timestamp, two.session_id) == (START + timedelta(seconds=1), "5e551014-0000-4000-8000-000000000001")


def test_repeated_lines_are_counted_once():
    transcript = Transcript().user("Go").assistant(text("Done."), tool("t1"))
    transcript.lines = [line for line in transcript.lines for _ in range(3)]
    records = read(transcript)
    assert only(records).output["text_blocks"] == 1
    assert [request.line_count for request in records.requests.values()] == [1]


def test_unknown_types_are_counted_on_the_side_of_the_checkpoint_they_stand_on():
    transcript = Transcript().line(type="novelty").user("Go").line(type="novelty").line(type="other").line(nothing=1)
    [chunk] = chunks_of(bytes(transcript))
    assert chunk.unknown == {"novelty": 1}
    assert chunk.open_unknown == {"novelty": 1, "other": 1, "(no type)": 1}
    assert chunk.good_lines == 5


def test_nul_characters_become_replacement_characters_and_are_owned_up_to():
    data = bytes(Transcript().user("a\0b", cwd="/w\0").assistant(tool("t1", "B\0")).result("t1", "x\0", is_error=True))
    records = read(data)
    execution = only(records)
    assert (execution.command, execution.output["nul_replaced"]) == ("a\ufffdb", True)
    assert (records.tools["t1"].tool_name, records.tools["t1"].error_message) == ("B\ufffd", "x\ufffd")
    assert "\0" not in repr(records.everything()) and "\\x00" not in repr(records.everything())
    assert "nul_replaced" not in only(read(Transcript().user("a"))).output


def test_times_without_or_with_another_zone_are_utc():
    records = read(
        Transcript().user("a", timestamp="2026-03-02T10:00:00").user("b", timestamp="2026-03-02T11:30:00+01:30")
    )
    assert {e.timestamp for e in records.listed} == {START + timedelta(hours=1)}


def test_a_setting_of_odd_shape_matters_only_where_something_is_opened():
    log = Transcript().user("Go", gitBranch=7).event("progress", cwd=[1]).user("On").assistant(text("Yes."), version={})
    records = read(bytes(log))
    assert [execution.command for execution in records.listed] == ["On"]
    assert [bad.reason for bad in records.bad.values()] == ["unexpected_shape"]
    assert records.listed[0].workspace == {"cwd": "/work/shop", "git_branch": "main"}
    assert len(records.requests) == 1


def test_what_a_chunk_hands_on_names_only_what_is_known():
    [chunk] = chunks_of(bytes(Transcript().user("Go").assistant(text("Yes."), tool("t-1"))))
    [again] = chunks_of(bytes(Transcript().user("Go").assistant(tool("t-1")).user("On")))[-1:]
    assert chunk.state == {"session_id": "5e551014-0000-4000-8000-000000000001", "cwd": "/work/shop"}
    assert None not in again.state["tools"][0].values()
