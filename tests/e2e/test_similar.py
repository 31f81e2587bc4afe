"""``tracemill embed`` and ``tracemill similar`` as a person meets them."""

import json

import pytest

from pipelines.database import connect
from tests.e2e.test_cli import Done, Run, run, says
from tests.embedding_endpoint import answer, serving, status
from tests.evaluation_tenants import fill

__all__ = ["run"]

KEY = "sk-proj-4f8a1c6be27d90335ab1"


@pytest.fixture
def evaluated(dsn: str) -> None:
    """Two projects with the same ids and no vectors of the built-in model."""
    with connect(dsn) as owner:
        fill(owner, {"alpha": 2, "beta": 2})
        owner.execute("delete from raw.embeddings")


def test_failures_like_a_text_are_shown_in_words(run: Run, evaluated: None) -> None:
    embedded = run("embed")
    assert embedded.returncode == 0
    assert "new vectors by tracemill-hashing-1" in embedded.stdout
    done = run("similar", "the connection timed out", "--project", "alpha")
    assert (done.returncode, done.stderr) == (0, "")
    header, _, row = done.stdout.splitlines()
    assert header.split() == ["similarity", "times", "last", "seen", "what", "text"]
    assert "connection timed out secret of alpha" in row
    assert "2026-03-01" in row


def test_json_holds_one_project_only(run: Run, evaluated: None) -> None:
    first, second = (json.loads(run("embed", "--json").stdout) for _ in range(2))
    assert first["embeddings"] > 0
    assert second["embeddings"] == 0
    done = run("similar", "Book flights", "--project", "beta", "--kind", "scenario", "--limit", "1", "--json")
    found = json.loads(done.stdout)
    assert (found["project"], found["kind"], found["model"]) == ("beta", "scenario", "tracemill-hashing-1")
    [result] = found["results"]
    assert result["subject_key"] == "book_a_flight"
    assert "alpha" not in done.stdout
    assert 0 < result["similarity"] <= 1


@pytest.mark.parametrize("kind", ["failure", "scenario", "configuration", "trajectory"])
def test_without_vectors_the_next_command_is_named(run: Run, evaluated: None, kind: str) -> None:
    says(
        run("similar", "timeout", "--project", "alpha", "--kind", kind),
        1, f"No {kind} of project alpha has a vector of tracemill-hashing-1", "run `tracemill embed`",
    )  # fmt: skip


def test_bad_calls_are_told(run: Run, evaluated: None) -> None:
    says(run("similar", "timeout", "--kind", "error"), 2, "'error' is not known", "trajectory")
    says(run("similar", " "), 2, "The text is empty")
    says(run("similar", "timeout"), 1, "There are several projects", "alpha, beta")
    says(run("similar", "timeout", "--project", "gamma"), 1, "no project 'gamma'")
    says(run("similar", "timeout", TRACEMILL_EMBEDDER="magic"), 1, "TRACEMILL_EMBEDDER: 'magic' is not known")


def test_an_endpoint_gets_redacted_texts_and_its_key_is_never_shown(run: Run, evaluated: None) -> None:
    def remote(*arguments: str, url: str) -> Done:
        return run(
            *arguments, TRACEMILL_EMBEDDER="openai", TRACEMILL_EMBEDDING_MODEL="m", TRACEMILL_EMBEDDING_URL=url,
            TRACEMILL_EMBEDDING_API_KEY=KEY,
        )  # fmt: skip

    secret = "hunter2-correct-horse-9931"
    with serving(answer) as endpoint:
        assert remote("embed", url=endpoint.url).returncode == 0
        found = remote("similar", f"login failed, password={secret}", "--project", "alpha", "--json", url=endpoint.url)
        assert json.loads(found.stdout)["model"] == "m"
        assert secret not in str(endpoint.requests) + found.stdout
        assert "login failed" in str(endpoint.requests[-1]["input"])
        endpoint.answers[:] = [status(401, f"Incorrect API key provided: {KEY}")]
        refused = remote("similar", "timeout", "--project", "alpha", url=endpoint.url)
    says(refused, 1, "refuses the key: correct TRACEMILL_EMBEDDING_API_KEY (status 401)")
    assert KEY not in refused.stderr
