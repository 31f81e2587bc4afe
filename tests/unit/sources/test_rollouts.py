"""What a Codex rollout says, line by line."""

import json
from datetime import timedelta
from typing import Any

import pytest
from rollout_files import START, Rollout, usage, uuid7
from source_files import Records, chunks_of, only

from pipelines.sources.records import ModelRequest


def read(*rollouts: Rollout) -> Records:
    """Records of the files, as if they were ingested in this order."""
    return Records([chunk for rollout in rollouts for chunk in chunks_of(bytes(rollout), "codex")])


def tokens(records: Records) -> list[tuple[int, int, int]]:
    """Uncached, cached and output tokens by response, in the order of the file."""
    return [
        (request.input_tokens, request.cache_read_tokens, request.output_tokens)
        for request in sorted(records.requests.values(), key=lambda request: request.offset)
    ]


def test_a_prompt_with_all_its_work_is_one_execution():
    rollout = Rollout().prompt("Fix the login")
    turn_id = rollout.turn_id
    rollout.item("reasoning", summary=[]).says("Looking.").call("c1").tokens()
    rollout.output("c1").says("Done").tokens(200, 150, 20, 5).end()
    found = read(rollout)
    execution = only(found)
    assert execution.id == turn_id
    assert (execution.kind, execution.command, execution.status) == ("prompt", "Fix the login", "completed")
    assert (execution.session_id, execution.sequence, execution.line) == (rollout.thread, 1, 4)
    assert execution.timestamp == START + timedelta(seconds=3)
    assert execution.ended_at == START + timedelta(seconds=11)
    assert execution.workspace == {"cwd": "/work/shop", "git_branch": "main", "git_commit": "c0ffee"}
    assert execution.session == {
        "version": "0.122.0", "entrypoint": "cli", "permission_mode": "never", "effort": "high",
    }  # fmt: skip
    assert execution.output == {
        "thinking_blocks": 1, "text_blocks": 2, "text_characters": 12, "tool_use_blocks": 1, "reasoning_tokens": 9,
    }  # fmt: skip
    assert tokens(found) == [(40, 60, 10), (50, 150, 20)]
    assert {request.execution_id for request in found.requests.values()} == {execution.id}
    assert {request.model for request in found.requests.values()} == {"gpt-5.4"}
    [call] = found.tools.values()
    first = min(found.requests.values(), key=lambda request: request.offset)
    assert (call.tool_name, call.status, call.message_id) == ("exec_command", "ok", first.message_id)


class TestTokens:
    def test_counters_written_again_are_no_response(self):
        rollout = Rollout().prompt("Go").tokens()
        rollout.count(rollout.totals, usage(100, 60, 10, 4)).event("token_count", info=None).tokens().end()
        assert tokens(read(rollout)) == [(40, 60, 10)] * 2

    def test_the_difference_of_the_totals_stands_where_a_line_is_lost(self):
        rollout = Rollout().prompt("Go").tokens().tokens().tokens().end()
        del rollout.lines[5]
        assert tokens(read(rollout)) == [(40, 60, 10), (80, 120, 20)]

    def test_counters_that_start_anew_are_no_negative_response(self):
        rollout = Rollout().prompt("Go").tokens(1000, 900, 50)
        rollout.totals = usage()
        rollout.tokens(200, 150, 20).end()
        assert tokens(read(rollout)) == [(100, 900, 50), (50, 150, 20)]

    def test_counters_that_pass_the_same_values_after_a_restart_are_other_responses(self):
        rollout = Rollout().prompt("Go").tokens().tokens()
        rollout.totals = usage()
        rollout.tokens().tokens().end()
        assert tokens(read(rollout)) == [(40, 60, 10)] * 4

    def test_a_full_context_that_empties_the_counters_uses_nothing(self):
        rollout = Rollout().prompt("Go").tokens(1000, 900, 50)
        rollout.totals = usage(total_tokens=258_400)
        rollout.count(rollout.totals, usage(total_tokens=257_350)).tokens(200, 150, 20).end()
        assert tokens(read(rollout)) == [(100, 900, 50), (50, 150, 20)]

    def test_an_estimate_after_compaction_uses_nothing(self):
        rollout = Rollout().prompt("Go").tokens()
        rollout.add("compacted", message="so far").event("context_compacted")
        rollout.count(rollout.totals, usage(total_tokens=9000)).tokens().end()
        found = read(rollout)
        assert tokens(found) == [(40, 60, 10)] * 2
        assert only(found).output["compactions"] == 1

    def test_cache_writes_are_part_of_the_input(self):
        rollout = Rollout().prompt("Go").count(usage(100, 60, 10, cache_write_input_tokens=30), None).end()
        [request] = read(rollout).requests.values()
        written = (request.input_tokens, request.cache_creation_5m_tokens, request.cache_read_tokens)
        assert written == (10, 30, 60)

    def test_more_cached_than_input_is_cut_to_the_input(self):
        rollout = Rollout().prompt("Go").count(usage(100, 160, 10), None).end()
        assert tokens(read(rollout)) == [(0, 100, 10)]

    def test_a_response_has_the_model_of_its_turn(self):
        rollout = Rollout().prompt("Go").tokens().end().prompt("On", "gpt-5.3-codex").tokens().end()
        assert [request.model for request in read(rollout).requests.values()] == ["gpt-5.4", "gpt-5.3-codex"]

    def test_without_any_model_the_name_is_unknown(self):
        [request] = read(Rollout().user("Go").tokens()).requests.values()
        assert request.model == "unknown"

    def test_searches_are_counted_with_the_response_that_made_them(self):
        rollout = Rollout().prompt("Go").item("web_search_call", id="ws_1", status="completed").tokens().tokens().end()
        found = read(rollout)
        searches = [request.web_search_requests for request in found.requests.values()]
        assert searches == [1, 0]
        assert found.tools["ws_1"].tool_name == "web_search"


class TestStatus:
    @pytest.mark.parametrize(
        ("lines", "status", "reason"),
        [
            (lambda r: r.tokens().end(), "completed", "answered"),
            (lambda r: r.end(), "failed", "no_answer"),
            (lambda r: r, "pending", "no_answer"),
            (lambda r: r.says("Well").tokens(), "pending", "no_end"),
            (lambda r: r.tokens().abort(), "cancelled", "interrupted"),
            (lambda r: r.abort("replaced"), "cancelled", "replaced"),
            (lambda r: r.abort("the moon was full"), "cancelled", "aborted"),
            (lambda r: r.event("error", message="quota").end(), "failed", "api_error"),
            (lambda r: r.event("error", message="again").says("Well").end(), "completed", "answered"),
        ],
    )
    def test_status(self, lines, status, reason):
        execution = only(read(lines(Rollout().prompt("Go"))))
        assert (execution.status, execution.status_reason) == (status, reason)
        assert execution.error_message == ("quota" if reason == "api_error" else None)

    def test_a_turn_whose_end_was_never_written_stays_pending_when_another_follows(self):
        rollout = Rollout().prompt("Go").tokens().prompt("Go on").tokens().end()
        assert [execution.status_reason for execution in read(rollout).listed] == ["no_end", "answered"]

    def test_what_is_typed_while_a_turn_runs_is_an_execution_of_its_own(self):
        rollout = Rollout().prompt("Go").tokens().user("No, left").tokens(300, 200, 30).end()
        found = read(rollout)
        first, second = found.listed
        assert [first.status_reason, second.status_reason] == ["steered", "answered"]
        assert [request.execution_id for request in found.requests.values()] == [first.id, second.id]

    def test_older_clients_that_announce_no_turns_answer_by_answering(self):
        rollout = Rollout(cli_version="0.42.0").user("One").context(turn_id=None).tokens()
        rollout.user("Two").context(turn_id=None).call("c1").tokens()
        first, second = read(rollout).listed
        assert (first.status, second.status_reason) == ("completed", "unanswered_tool")
        assert len({first.id, second.id}) == 2

    def test_a_turn_named_only_after_what_was_typed_is_that_execution(self):
        rollout = Rollout().user("One")
        rollout.turn_id = uuid7(START, 7)
        rollout.context().tokens()
        assert only(read(rollout)).kind == "prompt"


class TestWhatIsTyped:
    def test_surroundings_that_the_client_adds_are_no_command(self):
        rollout = Rollout().user("<environment_context>", kind="environment_context").prompt("Go").end()
        assert only(read(rollout)).command == "Go"

    def test_what_an_editor_puts_before_the_words_is_left_out(self):
        rollout = Rollout().prompt("# Context from my IDE setup:\n…\n## My request for Codex:\nGo left\n").end()
        assert only(read(rollout)).command == "Go left"

    def test_a_review_is_a_command(self):
        rollout = Rollout().begin().event("entered_review_mode", user_facing_hint="current changes").tokens().end()
        execution = only(read(rollout))
        assert (execution.kind, execution.command) == ("slash", "/review current changes")
        assert execution.command_name == "/review"

    def test_a_compaction_by_hand_is_a_command_and_none_of_the_one_before(self):
        rollout = Rollout().prompt("Go").tokens().end()
        rollout.begin().tokens(5000, 0, 700).add("compacted", message="so far").end()
        found = read(rollout)
        first, second = found.listed
        assert (second.kind, second.command, second.status) == ("slash", "/compact", "completed")
        assert [request.execution_id for request in found.requests.values()] == [first.id, second.id]

    def test_work_that_nothing_typed_stands_before_is_an_orphan(self):
        found = read(Rollout().begin().call("c1").tokens().end())
        assert only(found).kind == "orphan"
        assert found.tools["c1"].execution_id == only(found).id


class TestTools:
    @pytest.mark.parametrize(
        ("output", "status", "duration_ms", "error"),
        [
            ("Chunk ID: 1\nWall time: 1.5000 seconds\nProcess exited with code 0\nOutput:\nok", "ok", 1500, None),
            ("Wall time: 0.2 seconds\nProcess exited with code 2\nOutput:\nno", "error", 200, "Exit code 2\nno"),
            ("Exit code: 1\nWall time: 2 seconds\nOutput:\nbad", "error", 2000, "Exit code 1\nbad"),
            ("Exit code: 0\nWall time: 0 seconds\nOutput:\nExit code: 7", "ok", 0, None),
            (json.dumps({"output": "x", "metadata": {"exit_code": 0, "duration_seconds": 0.3}}), "ok", 300, None),
            (json.dumps({"output": "x", "metadata": {"exit_code": 127}}), "error", 1000, "Exit code 127\nx"),
            ({"content": "boom", "success": False}, "error", 1000, "boom"),
            ([{"type": "input_text", "text": "a picture"}], "ok", 1000, None),
            ("aborted by user after 3.2s", "rejected", 1000, "aborted by user after 3.2s"),
            ("exec command rejected by user", "rejected", 1000, "exec command rejected by user"),
            ("failed to parse function arguments: x", "error", 1000, "failed to parse function arguments: x"),
            ("Plan updated", "ok", 1000, None),
        ],
    )
    def test_outcome_by_the_output(self, output, status, duration_ms, error):
        call = read(Rollout().prompt("Go").call("c1").output("c1", output).end()).tools["c1"]
        assert (call.status, call.duration_ms, call.error_message) == (status, duration_ms, error)

    @pytest.mark.parametrize("order", [(0, 1), (1, 0)])
    def test_the_clients_own_event_beats_the_words_for_the_model(self, order):
        end: dict[str, Any] = {
            "call_id": "c1", "exit_code": 3, "duration": {"secs": 2, "nanos": 500_000_000}, "stderr": "no such file",
        }  # fmt: skip
        rollout = Rollout().prompt("Go").call("c1", "shell")
        steps = [lambda: rollout.event("exec_command_end", **end), lambda: rollout.output("c1", "Some words")]
        for number in order:
            steps[number]()
        call = read(rollout.end()).tools["c1"]
        assert (call.status, call.duration_ms, call.error_message) == ("error", 2500, "Exit code 3\nno such file")

    @pytest.mark.parametrize(
        ("event", "fields", "status"),
        [
            ("exec_command_end", {"exit_code": -1, "status": "declined"}, "rejected"),
            ("patch_apply_end", {"success": True}, "ok"),
            ("patch_apply_end", {"success": False, "stderr": "no such hunk"}, "error"),
            ("mcp_tool_call_end", {"result": {"Ok": {"content": [], "isError": True}}}, "error"),
            ("mcp_tool_call_end", {"result": {"Err": "timed out"}}, "error"),
            ("mcp_tool_call_end", {"result": {"Ok": {"content": []}}}, "ok"),
        ],
    )
    def test_outcome_by_the_event(self, event, fields, status):
        rollout = Rollout().prompt("Go").item("custom_tool_call", call_id="c1", name="apply_patch", input="*** Begin")
        call = read(rollout.event(event, call_id="c1", **fields).end()).tools["c1"]
        assert (call.tool_name, call.status) == ("apply_patch", status)

    def test_a_call_without_an_output_is_unanswered(self):
        call = read(Rollout().prompt("Go").call("c1").abort()).tools["c1"]
        assert (call.status, call.duration_ms) == ("unanswered", None)

    def test_an_output_in_a_later_turn_finds_its_call(self):
        found = read(Rollout().prompt("Go").call("c1").abort().prompt("On").output("c1").end())
        assert found.tools["c1"].status == "ok"
        assert found.tools["c1"].execution_id == found.listed[0].id

    def test_a_servers_tool_is_named_with_its_server(self):
        found = read(Rollout().prompt("Go").call("c1", "search", namespace="mcp__docs__").end())
        assert found.tools["c1"].tool_name == "mcp__docs__search"


class TestForksAndSubagents:
    def original(self) -> Rollout:
        return Rollout().prompt("One").call("c1").output("c1").tokens().end().prompt("Two").tokens(300, 200, 30).end()

    @pytest.mark.parametrize("fork_comes_first", [False, True])
    def test_a_forks_copy_is_counted_once(self, fork_comes_first):
        original = self.original()
        fork = original.forked().prompt("Three").tokens(500, 400, 50).end()
        found = read(fork, original) if fork_comes_first else read(original, fork)
        assert sorted(execution.command for execution in found.executions.values()) == ["One", "Three", "Two"]
        assert sorted(request.output_tokens for request in found.requests.values()) == [10, 30, 50]
        assert {execution.session_id for execution in found.executions.values()} == {original.thread, fork.thread}

    def test_a_copy_is_dated_when_its_turn_began_not_when_it_was_copied(self):
        found = read(self.original().forked())
        assert {execution.ended_at.date() for execution in found.executions.values()} == {START.date()}
        assert {request.timestamp.date() for request in found.requests.values()} == {START.date()}

    def test_a_fork_of_a_fork_tells_three_threads_apart(self):
        original = self.original()
        fork = original.forked().prompt("Three").tokens().end()
        second = fork.forked(thread=3).prompt("Four").tokens().end()
        found = read(second)
        assert [execution.session_id for execution in found.listed] == [
            original.thread, original.thread, fork.thread, second.thread,
        ]  # fmt: skip

    def test_a_fork_without_its_parents_counters_does_not_inherit_their_sum(self):
        original = self.original()
        fork = Rollout(start=START + timedelta(days=1), thread=2, forked_from_id=original.thread)
        fork.totals = usage(3_000_000_000, 2_900_000_000, 1_000_000)
        fork.prompt("Three").tokens().end()
        assert tokens(read(fork)) == [(40, 60, 10)]

    def agent_of(self, parent: Rollout) -> dict[str, Any]:
        return {"source": {"subagent": {"thread_spawn": {"parent_thread_id": parent.thread, "depth": 1}}}}

    @pytest.mark.parametrize("copies_history", [False, True])
    def test_a_subagents_work_names_the_agent_and_the_parents_session(self, copies_history):
        parent = self.original()
        meta = self.agent_of(parent)
        agent = (
            parent.forked(after=timedelta(hours=1), **meta)
            if copies_history
            else Rollout(start=START + timedelta(hours=1), thread=2, **meta)
        )
        agent.prompt("Look").call("a1").tokens(700, 0, 70).end()
        found = read(agent)
        own = [request for request in found.requests.values() if request.output_tokens == 70]
        assert [self.owner(request) for request in own] == [(parent.thread, agent.thread, None)]
        assert (found.tools["a1"].agent_id, found.tools["a1"].execution_id) == (agent.thread, None)
        assert [execution.command for execution in found.listed] == (["One", "Two"] if copies_history else [])
        assert len(read(parent, agent).requests) == 3

    def owner(self, request: ModelRequest) -> tuple[str | None, str | None, str | None]:
        return request.session_id, request.agent_id, request.execution_id

    def test_the_call_that_starts_a_subagent_names_it(self):
        rollout = Rollout().prompt("Go").call("c1", "spawn_agent").output("c1", json.dumps({"agent_id": "a-1"}))
        rollout.call("c2", "spawn_agent").event("collab_agent_spawn_end", call_id="c2", new_thread_id="a-2").end()
        tools = read(rollout).tools
        assert (tools["c1"].spawned_agent_id, tools["c2"].spawned_agent_id) == ("a-1", "a-2")

    def test_a_resumed_session_goes_on_in_its_file(self):
        rollout = self.original()
        rollout.add("session_meta", id=rollout.thread, cwd="/work/shop", cli_version="0.130.0", source="cli")
        rollout.prompt("Three").tokens().end()
        found = read(rollout)
        assert [execution.sequence for execution in found.listed] == [1, 2, 3]
        assert found.listed[2].session["version"] == "0.130.0"
        assert found.chunks[-1].cwd == "/work/shop"


def test_unknown_kinds_are_counted_by_name():
    rollout = Rollout().prompt("Go").add("novelty").event("novelty").item("novelty").event("agent_message", message="")
    [chunk] = read(rollout).chunks
    assert chunk.open_unknown == {"novelty": 1, "event_msg:novelty": 1, "response_item:novelty": 1}
    assert chunk.good_lines == len(rollout.lines)


def test_a_line_that_cannot_be_used_is_set_aside_and_leaves_no_trace():
    rollout = Rollout().prompt("Go").tokens()
    good = read(rollout).everything()
    rollout.event("user_message", message={"not": "text"})
    rollout.count(usage(-5, 0, 1), None)
    rollout.lines.append(json.dumps({"type": "event_msg", "payload": {"type": "user_message", "message": "When?"}}))
    rollout.lines.append('{"timestamp":"2026-03-02T09:00:00Z","type":"event_msg","payload":{"ty')
    found = read(rollout)
    assert found.everything()[:3] == good[:3]
    reasons = [line.reason for line in found.chunks[-1].bad]
    assert reasons == ["unexpected_shape", "unexpected_shape", "bad_timestamp", "malformed_json"]


def test_a_nul_in_what_was_typed_is_replaced():
    execution = only(read(Rollout().prompt("a\0b").end()))
    assert (execution.command, execution.output["nul_replaced"]) == ("a\ufffdb", True)
