"""The embedders by themselves: the built-in one, and the endpoint against a server that answers, limits and lies."""

import hashlib
import subprocess
import sys

import numpy as np
import pytest

from pipelines.enrichment.embedders import EmbedderError, choose, remote
from pipelines.enrichment.embedders.hashing import HashingEmbedder
from pipelines.enrichment.embedders.remote import RemoteEmbedder
from pipelines.settings import EmbedderSettings, SettingsError, load
from tests.embedding_endpoint import Reply, answer, serving, status

KEY = "sk-test-6f2c9d17b4"

FAMILIES = {
    "KeyError: 'session_id' in load_user at api/session.py line 41": (
        "KeyError: 'session_id' in load_user at api/session.py line 388",
        "KeyError: 'user_id' in load_account",
    ),
    "connection to db.internal timed out after 30 s": (
        "Connection to cache.internal timed out after 120 s",
        "the request timed out",
    ),
    'psycopg.errors.UndefinedTable: relation "orders" does not exist': (
        'psycopg.errors.UndefinedTable: relation "users" does not exist',
        'ERROR: relation "order_items" does not exist',
    ),
}
"""Text → texts that resemble it less and less, but all more than those of the other families."""


class TestBuiltIn:
    def test_the_same_text_has_the_same_vector_in_every_process(self) -> None:
        text = "TypeError: loadUser() got 3 arguments — café"
        program = (
            "import sys, hashlib\nfrom pipelines.enrichment.embedders.hashing import HashingEmbedder\n"
            "print(hashlib.sha256(HashingEmbedder().embed([sys.argv[1]]).tobytes()).hexdigest())"
        )
        other = subprocess.run(
            [sys.executable, "-c", program, text], env={"PYTHONHASHSEED": "7"},
            capture_output=True, text=True, timeout=60, check=True,
        ).stdout.strip()  # fmt: skip
        assert hashlib.sha256(HashingEmbedder().embed([text]).tobytes()).hexdigest() == other

    def test_a_vector_does_not_depend_on_the_texts_beside_it(self) -> None:
        texts = [*FAMILIES, "x", "!"]
        together = HashingEmbedder().embed(texts)
        for text, vector in zip(texts, together, strict=True):
            assert np.array_equal(HashingEmbedder().embed([text])[0], vector)

    def test_vectors_have_1536_dimensions_and_length_one(self) -> None:
        vectors = HashingEmbedder().embed([*FAMILIES, "x", "!", "日本語のエラー", "a" * 50_000])
        assert vectors.shape == (len(FAMILIES) + 4, 1536)
        assert vectors.dtype == np.float32
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-6)

    def test_nothing_but_white_space_has_no_direction(self) -> None:
        assert not HashingEmbedder().embed([" \n\t"]).any()

    @pytest.mark.parametrize("text", FAMILIES)
    def test_like_texts_are_nearer_than_unlike_ones(self, text: str) -> None:
        embedder = HashingEmbedder()
        vector = embedder.embed([text])[0]
        near, less_near = embedder.embed(FAMILIES[text]) @ vector
        others = [other for family in FAMILIES if family != text for other in (family, *FAMILIES[family])]
        assert near > less_near > max(embedder.embed(others) @ vector)

    def test_numbers_and_ids_make_no_difference(self) -> None:
        one, two = HashingEmbedder().embed(
            [
                "pod a-7f9c8d6b5f41 failed 3 times: 0x7ffe12, 550e8400-e29b-41d4-a716-446655440000",
                "pod a-0a1b2c3d4e5f failed 12 times: 0xdead, 123e4567-e89b-12d3-a456-426614174000",
            ]
        )
        assert one @ two > 0.999


class TestEndpoint:
    def test_vectors_come_back_in_the_order_of_the_texts_at_length_one(self) -> None:
        with serving(answer) as endpoint:
            vectors = RemoteEmbedder(endpoint.url + "/", "m", KEY).embed(["a", "four"])
        assert np.allclose(vectors, [[0.6, 0.8, 0], [12 / 160**0.5, 4 / 160**0.5, 0]])
        assert endpoint.requests[0]["path"] == "/v1/embeddings"
        assert endpoint.requests[0]["model"] == "m"
        assert endpoint.headers[0]["Authorization"] == f"Bearer {KEY}"

    def test_requests_are_bounded_in_texts_and_characters(self) -> None:
        texts = ["x"] * 150 + ["y" * 8_000] * 60
        with serving(answer) as endpoint:
            assert RemoteEmbedder(endpoint.url, "m", None).embed(texts).shape == (210, 3)
        sent = [request["input"] for request in endpoint.requests]
        assert [text for batch in sent for text in batch] == texts
        assert max(len(batch) for batch in sent) <= 64
        assert max(sum(map(len, batch)) for batch in sent) <= 200_000
        assert "Authorization" not in endpoint.headers[0]

    @pytest.mark.parametrize("code", [429, 500, 503])
    def test_what_may_pass_is_tried_again(self, code: int) -> None:
        with serving(status(code), answer) as endpoint:
            assert RemoteEmbedder(endpoint.url, "m", KEY).embed(["a"]).shape == (1, 3)
        assert len(endpoint.requests) == 2

    def test_an_endless_limit_is_told_after_bounded_attempts(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(remote, "RETRY", remote.RETRY.new(backoff_factor=0))
        with serving(status(429)) as endpoint, pytest.raises(EmbedderError, match="still limits the rate"):
            RemoteEmbedder(endpoint.url, "m", KEY).embed(["a"])
        assert len(endpoint.requests) == 6

    @pytest.mark.parametrize(
        ("reply", "sentence"),
        [
            (status(401, f"Incorrect API key provided: {KEY}"), "refuses the key: correct TRACEMILL_EMBEDDING_API_KEY"),
            (status(400, f"bad input for {KEY}"), "status 400, “bad input for ***”"),
            (status(404), "knows neither this address nor this model"),
            (status(307), "sends elsewhere"),
            (lambda request: (200, b"<html>hello</html>"), "answers something else than embeddings"),
            (lambda request: (200, {"data": [{"index": 0, "embedding": ["x"]}]}), "something else than embeddings"),
            (lambda request: (200, {"data": []}), "gives 0 vectors for 2 texts"),
            (
                lambda request: (200, {"data": [{"index": n, "embedding": [1.0] * (n + 1)} for n in range(2)]}),
                "vectors of different dimensions",
            ),
            (
                lambda request: (200, {"data": [{"index": n, "embedding": [0.0, 0.0]} for n in range(2)]}),
                "a vector of zeros",
            ),
        ],
    )
    def test_a_bad_answer_is_one_sentence_without_the_key(self, reply: Reply, sentence: str) -> None:
        with serving(reply) as endpoint, pytest.raises(EmbedderError) as raised:
            RemoteEmbedder(endpoint.url, "m", KEY).embed(["a", "b"])
        assert sentence in str(raised.value)
        assert KEY not in f"{raised.value!r} {raised.value.__cause__!r}"
        assert len(endpoint.requests) == 1

    def test_nobody_there_is_told(self) -> None:
        with serving(answer) as endpoint:
            pass
        with pytest.raises(EmbedderError, match="cannot be reached"):
            RemoteEmbedder(endpoint.url, "m", KEY).embed(["a"])

    def test_proxies_of_the_environment_get_nothing(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        with serving(answer) as endpoint:
            assert RemoteEmbedder(endpoint.url, "m", KEY).embed(["a"]).shape == (1, 3)


class TestChoice:
    def test_the_built_in_one_is_the_default(self) -> None:
        assert choose(load({}).embedder).model == "tracemill-hashing-1"

    def test_a_missing_package_is_told_with_its_command(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "sentence_transformers", None)
        with pytest.raises(EmbedderError, match="pip install sentence-transformers"):
            choose(EmbedderSettings("sentence-transformers", "m"))

    def test_settings_hold_the_endpoint_and_never_show_the_key(self) -> None:
        settings = load(
            {
                "TRACEMILL_EMBEDDER": "openai",
                "TRACEMILL_EMBEDDING_MODEL": "m",
                "TRACEMILL_EMBEDDING_URL": "https://llm.example.com/v1",
                "TRACEMILL_EMBEDDING_API_KEY": KEY,
            }
        )
        assert settings.embedder == EmbedderSettings("openai", "m", "https://llm.example.com/v1", KEY)
        assert KEY not in repr(settings)

    @pytest.mark.parametrize(
        ("changed", "sentence"),
        [
            ({"TRACEMILL_EMBEDDER": "word2vec"}, "TRACEMILL_EMBEDDER: 'word2vec' is not known"),
            ({"TRACEMILL_EMBEDDING_MODEL": ""}, "TRACEMILL_EMBEDDING_MODEL must name"),
            ({"TRACEMILL_EMBEDDING_MODEL": "a\nb"}, "TRACEMILL_EMBEDDING_MODEL must name"),
            ({"TRACEMILL_EMBEDDING_URL": ""}, "TRACEMILL_EMBEDDING_URL must be the address"),
            ({"TRACEMILL_EMBEDDING_URL": "file:///etc/passwd"}, "TRACEMILL_EMBEDDING_URL must be the address"),
            ({"TRACEMILL_EMBEDDING_URL": "https://me:pw@host/v1"}, "TRACEMILL_EMBEDDING_URL must be the address"),
            ({"TRACEMILL_EMBEDDING_URL": "http://[host"}, "TRACEMILL_EMBEDDING_URL must be the address"),
        ],
    )
    def test_settings_that_cannot_work_name_their_variable(self, changed: dict[str, str], sentence: str) -> None:
        right = {
            "TRACEMILL_EMBEDDER": "openai",
            "TRACEMILL_EMBEDDING_MODEL": "m",
            "TRACEMILL_EMBEDDING_URL": "http://localhost:11434/v1",
        }
        load(right)
        with pytest.raises(SettingsError, match=sentence):
            load(right | changed)
