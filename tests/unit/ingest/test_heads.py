"""What is asked of a file's beginning has the same answer, however little of it was read."""

import gzip

import pytest
from source_files import Transcript

from pipelines.ingest import files, projects
from pipelines.ingest.worker import _head_of
from pipelines.sources import detect

GO = bytes(Transcript(cwd="/work/far").user("Go"))
FILLER = "x" * files.FEW_LINES_BYTES


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"no log\n" * 5_000,
        GO,
        GO * 500,
        bytes(Transcript(cwd="/work/far").user(FILLER)),
        bytes(Transcript(cwd=None).event("summary", text=FILLER)) + GO,
        bytes(Transcript(cwd=None).user("No folder")) * 500 + GO,
        b'[{"sessionId": "s", "type": "user", "cwd": "/work/near"},\n' + GO * 500,
        b'{\n"session_id": "s", "type": "result", "filler": "' + FILLER.encode() + b'"}',
    ],
    ids=range(9),
)
def test_a_short_head_tells_what_the_whole_one_tells(data, tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(data)
    short, whole = _head_of(path), files.read_head(path)
    assert whole == data[: files.HEAD_BYTES]
    assert whole.startswith(short)
    assert detect(short) == detect(whole)
    assert projects.start_directory(short) == projects.start_directory(whole)
    assert files.content_key(b"k", short) == files.content_key(b"k", whole)


def test_of_a_common_log_little_is_read(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(GO * 500)
    assert len(_head_of(path)) == files.FEW_LINES_BYTES < len(GO * 500)


def test_a_subagent_belongs_to_the_folder_that_its_parent_names_late(tmp_path):
    parent = tmp_path / "s.jsonl"
    parent.write_bytes(bytes(Transcript(cwd=None).event("summary", text=FILLER)) + GO)
    own = tmp_path / "s" / "subagents" / "agent-1.jsonl"
    own.parent.mkdir(parents=True)
    head = bytes(Transcript(cwd="/work/elsewhere").user("Go"))
    own.write_bytes(head)
    assert projects.directory_of_session(own, head) == "/work/far"


def test_a_subagent_whose_parent_cannot_be_read_belongs_to_its_own_folder(tmp_path):
    (tmp_path / "s.jsonl").write_bytes(gzip.compress(GO * 500)[:20])
    own = tmp_path / "s" / "subagents" / "agent-1.jsonl"
    own.parent.mkdir(parents=True)
    own.write_bytes(GO)
    assert projects.directory_of_session(own, GO) == "/work/far"


@pytest.mark.parametrize("session", ["s", "s.1"])
@pytest.mark.parametrize("agent", ["agent-1.jsonl", "agent-1.jsonl.gz", "agent-1.b.jsonl.zst", "agent-1.log"])
@pytest.mark.parametrize("end", [".jsonl", ".jsonl.gz", ".jsonl.zst", "its own"])
def test_the_parent_of_a_subagent_is_found_however_either_is_compressed(tmp_path, session, agent, end):
    own_end = {"log": ".log", "gz": ".jsonl.gz", "zst": ".jsonl.zst"}.get(agent.rpartition(".")[2], ".jsonl")
    parent = tmp_path / (session + (own_end if end == "its own" else end))
    parent.write_bytes(GO)
    assert list(projects.parent_logs(tmp_path / session / "subagents" / agent)) == [parent]


def test_what_precedes_a_place_in_a_log_is_told_again_without_moving_in_it(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(GO * 100)
    for offset in (0, 10, len(GO), len(GO) * 99):
        with files.open_at(path, 7) as stream:
            told = files.tail_key(b"k", stream, offset)
            assert stream.tell() == 7
        assert files.has_tail_key(b"k", path, offset, told)
    changed = (GO * 100).replace(b"Go", b"No")
    path.write_bytes(changed)
    assert not files.has_tail_key(b"k", path, offset, told)
    path.write_bytes(gzip.compress(GO * 100))
    assert not files.has_tail_key(b"k", path, offset, told)
    assert files.has_tail_key(b"k", path, offset, None)
    with files.open_at(path, offset) as stream:
        assert files.tail_key(b"k", stream, offset) is None
