"""What is asked of a file's beginning has the same answer, however little of it was read."""

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
