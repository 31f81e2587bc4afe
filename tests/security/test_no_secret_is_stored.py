"""Secrets planted wherever a log can hold one are in no byte of a dump of the database.

Checked twice: by literal search for what was planted, and by an independent scanner.
"""

import base64
import json
import subprocess
import sys
from pathlib import Path

import psycopg
import pytest

from pipelines import ingest, samples
from pipelines.database import embedded
from pipelines.settings import Settings

# Put together here, so that no scanner finds them in this file.
ANTHROPIC = (
    "sk-ant-" + "api03-" + "Zk3vQ9mT7xWbR2sY8pLdN4hJc6fGaU1eKoVi5tXqMzBwSyPrDnHlCgFjEuAk0O7I3Q9mT7xWbR2s"
    "Y8pLdN4hJc6fGaU1-" + "bXQAA"
)
GITHUB = "gh" + "p_" + "R7tYq2WmZ9xKc4VbN8sLd1HfJ6gPa3Eu5oTi"
AWS = "AKI" + "A" + "Q7ZXW3VJ5KLMN2PB"
AWS_SECRET = "wJq8Xr3T" + "v9Lm2Kp7Zs5Yb1Nc4Hd6Fg0Ja" + "QeUiOxWt"
SLACK = "xox" + "b-" + "2847561930-3958276401-" + "Kd8fJ2mQx7VbN4sLw9TzPy3R"
PASSWORD = "tulip-" + "Harbour-7719"
PLANTED = (ANTHROPIC, GITHUB, AWS, AWS_SECRET, SLACK, PASSWORD)


def line(number: int, **fields: object) -> dict[str, object]:
    return {
        "uuid": f"00000000-0000-4000-8000-{number:012d}",
        "sessionId": "11111111-1111-4111-8111-111111111111",
        "timestamp": f"2026-10-05T12:{number // 60:02d}:{number % 60:02d}.000Z",
        "cwd": f"/src/{GITHUB}/shop",
        "gitBranch": f"fix-{SLACK}",
        "version": "2.1.97",
        "isSidechain": False,
        **fields,
    }


def assistant(number: int, blocks: list[dict[str, object]]) -> dict[str, object]:
    message = {
        "id": f"msg_{number}",
        "role": "assistant",
        "model": "claude-sonnet-4-6",
        "content": blocks,
        "stop_reason": "tool_use",
        "usage": {"input_tokens": 3, "output_tokens": 30},
    }
    return line(number, type="assistant", requestId=f"req_{number}", message=message)


def user(number: int, content: object, **fields: object) -> dict[str, object]:
    return line(number, type="user", message={"role": "user", "content": content}, **fields)


def plant(folder: Path) -> list[bytes]:
    """Writes one transcript whose every text holds secrets; returns lines that are not even JSON."""
    lines = []
    number = 0
    for secret in PLANTED:
        nested = json.dumps({"env": json.dumps({"API_KEY": secret})})
        for text in (
            f"use {secret} please" if secret != PASSWORD and secret != AWS_SECRET else f"the password={secret} please",
            f"curl -H 'Authorization: Bearer {secret}' https://x.test",
            f"postgres://admin:{secret}@db.test/app",
            f"export API_KEY={secret}",
            f"login --password {secret} --verbose",
            nested,
        ):
            number += 1
            lines.append(user(number, text))
            number += 1
            lines.append(
                user(number, f"<command-name>/deploy</command-name>\n<command-args>--token {secret}</command-args>")
            )
            number += 1
            tool = {"type": "tool_use", "id": f"toolu_{number}", "name": "Bash", "input": {"command": text}}
            lines.append(assistant(number, [{"type": "text", "text": text}, tool]))
            number += 1
            result = {"type": "tool_result", "tool_use_id": f"toolu_{number - 1}", "is_error": True, "content": text}
            lines.append(user(number, [result], toolUseResult=f"Error: {text}"))
            number += 1
            lines.append(user(number, f"<bash-input>{text}</bash-input>"))
            number += 1
            lines.append(user(number, f"<bash-stdout></bash-stdout><bash-stderr>{text}</bash-stderr>"))
    number += 1
    failure = assistant(number, [{"type": "text", "text": f"API Error: key {ANTHROPIC} refused, password={PASSWORD}"}])
    failure["isApiErrorMessage"] = True
    failure["error"] = "authentication_failed"
    lines.append(failure)
    path = folder / f"-src-{GITHUB}" / f"token={PASSWORD}" / f"{AWS}.jsonl"
    path.parent.mkdir(parents=True)
    broken = [
        b'{"type": "user", "message": {"content": "password=' + PASSWORD.encode() + b'"',
        b"not json at all: " + ANTHROPIC.encode(),
        b'{"type": "user", "key": "' + b"x" * 180 + b" " + GITHUB.encode(),
        b'["' + AWS.encode() + b'", "api_key=' + AWS_SECRET.encode() + b'"]',
    ]
    path.write_bytes(b"\n".join([*(json.dumps(entry).encode() for entry in lines), *broken]) + b"\n")
    return broken


def dump(dsn: str) -> bytes:
    return subprocess.run(
        [str(embedded.binaries() / "pg_dump"), "--inserts", "--dbname", dsn],
        check=True,
        capture_output=True,
        timeout=120,
    ).stdout


@pytest.fixture
def dumped(settings: Settings, dsn: str, tmp_path: Path) -> tuple[bytes, list[bytes]]:
    broken = plant(tmp_path / "logs")
    truth = samples.generate(tmp_path / "sample", days=10, size_bytes=700_000)
    report = ingest.run([tmp_path / "logs", truth.folder], dsn=dsn, settings=settings, jobs=1)
    assert report.quarantined >= len(broken)
    with psycopg.connect(dsn) as connection:
        (redacted,) = connection.execute(
            "select count(*) from raw.command_executions where command_raw like '%[REDACTED:%'"
        ).fetchone()
        assert redacted > len(PLANTED)
    assert truth.secrets
    return dump(dsn), [*(secret.encode() for secret in PLANTED), *(secret.encode() for secret in truth.secrets)]


def test_no_planted_secret_is_in_a_dump(dumped: tuple[bytes, list[bytes]]) -> None:
    content, planted = dumped
    assert [secret for secret in planted if secret in content] == []
    assert [secret for secret in planted if base64.b64encode(secret).rstrip(b"=") in content] == []


def test_an_independent_scanner_finds_nothing_in_a_dump(dumped: tuple[bytes, list[bytes]], tmp_path: Path) -> None:
    content, planted = dumped

    def findings(data: bytes, name: str) -> int:
        target = tmp_path / f"{name}.sql"
        target.write_bytes(data)
        scan = subprocess.run(
            [
                *(str(Path(sys.executable).parent / "kingfisher"), "scan", str(target)),
                *("--no-validate", "--no-update-check", "--no-dedup", "--format", "jsonl"),
            ],
            capture_output=True,
            timeout=120,
        )
        assert scan.returncode in (0, 200, 205), scan.stderr.decode()
        return sum(b'"rule"' in entry for entry in scan.stdout.splitlines())

    assert findings(content, "dump") == 0
    assert findings(content + b"\n".join(planted), "with_secrets") >= 3, "the scanner finds nothing at all"


def test_equal_secrets_stay_joinable(settings: Settings, dsn: str, tmp_path: Path) -> None:
    plant(tmp_path / "logs")
    ingest.run([tmp_path / "logs"], dsn=dsn, settings=settings, jobs=1)
    with psycopg.connect(dsn) as connection:
        (commands,) = connection.execute(
            "select count(distinct substring(command_raw from 'REDACTED:[^]]*:([0-9a-f]{8})')) "
            "from raw.command_executions where command_raw like 'postgres://admin:%'"
        ).fetchone()
    assert commands == len(PLANTED)
