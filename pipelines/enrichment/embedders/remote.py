"""An OpenAI-compatible endpoint, the only address that is ever called.

Redirects are not followed and proxies of the environment not used. Requests are bounded; those that fail for a reason
that may pass (429, 5xx, a lost connection) are repeated with growing pauses, or when the server says. The key stands
in the header of the request and nowhere else.
"""

from collections.abc import Iterator, Sequence
from typing import Final

import msgspec
import numpy as np
import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from pipelines.enrichment.embedders.base import EmbedderError, Vectors, unit_vectors

_BATCH_TEXTS: Final = 64
_BATCH_CHARACTERS: Final = 200_000
_TIMEOUT_SECONDS: Final = (10, 60)
RETRY: Final = Retry(
    total=5,
    connect=2,
    redirect=0,
    status_forcelist=(429, 500, 502, 503, 504),
    allowed_methods=None,
    backoff_factor=0.5,
    backoff_max=20,
    retry_after_max=60,
    raise_on_status=False,
)
_REMEDIES: Final = {
    401: "refuses the key: correct TRACEMILL_EMBEDDING_API_KEY",
    403: "refuses the key: correct TRACEMILL_EMBEDDING_API_KEY",
    404: "knows neither this address nor this model: correct TRACEMILL_EMBEDDING_URL or TRACEMILL_EMBEDDING_MODEL",
    429: "still limits the rate after several attempts: run the command again later; what was embedded is kept",
}


class _Item(msgspec.Struct):
    index: int
    embedding: list[float]


class _Answer(msgspec.Struct):
    data: list[_Item]


class _Problem(msgspec.Struct):
    message: str = ""


class _Refusal(msgspec.Struct):
    error: _Problem | str = ""


class RemoteEmbedder:
    """Vectors of one model behind one endpoint."""

    def __init__(self, url: str, model: str, api_key: str | None) -> None:
        self.model = model
        self._address = f"{url.rstrip('/')}/embeddings"
        self._key = api_key
        self._session = requests.Session()
        self._session.trust_env = False
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=RETRY))
        if api_key:
            self._session.headers["Authorization"] = f"Bearer {api_key}"

    def embed(self, texts: Sequence[str]) -> Vectors:
        """One vector of length 1 a text. Raises EmbedderError that says what the endpoint did."""
        parts = [self._request(batch) for batch in _batches(texts)]
        if len({part.shape[1] for part in parts}) > 1:
            raise self._error("gives vectors of different dimensions for one model")
        return unit_vectors(np.concatenate(parts), self.model)

    def _request(self, texts: list[str]) -> Vectors:
        try:
            response = self._session.post(
                self._address,
                json={"model": self.model, "input": texts, "encoding_format": "float"},
                timeout=_TIMEOUT_SECONDS,
                allow_redirects=False,
            )
        except (requests.Timeout, requests.exceptions.RetryError):
            raise self._error("does not answer in time: run the command again later") from None
        except requests.RequestException:
            raise self._error("cannot be reached: check the network and TRACEMILL_EMBEDDING_URL") from None
        if response.status_code != 200:
            raise self._refusal(response)
        return self._vectors(response.content, len(texts))

    def _vectors(self, body: bytes, count: int) -> Vectors:
        try:
            items = msgspec.json.decode(body, type=_Answer).data
        except msgspec.MsgspecError:
            raise self._error("answers something else than embeddings: correct TRACEMILL_EMBEDDING_URL") from None
        if sorted(item.index for item in items) != list(range(count)):
            raise self._error(f"gives {len(items)} vectors for {count} texts")
        lengths = {len(item.embedding) for item in items}
        if len(lengths) > 1 or 0 in lengths:
            raise self._error("gives vectors of different dimensions for one model")
        return np.array([item.embedding for item in sorted(items, key=lambda item: item.index)], dtype=np.float32)

    def _refusal(self, response: requests.Response) -> EmbedderError:
        status = response.status_code
        if status in _REMEDIES:
            return self._error(f"{_REMEDIES[status]} (status {status})")
        if response.is_redirect:
            return self._error(f"sends elsewhere (status {status}): set TRACEMILL_EMBEDDING_URL to the final address")
        return self._error(f"answers with status {status}{self._reason(response.content)}: mend that and run it again")

    def _reason(self, body: bytes) -> str:
        try:
            error = msgspec.json.decode(body, type=_Refusal).error
        except msgspec.MsgspecError:
            return ""
        reason = " ".join((error if isinstance(error, str) else error.message).split())
        if self._key:
            reason = reason.replace(self._key, "***")
        return f", “{reason[:200]}”" if reason else ""

    def _error(self, problem: str) -> EmbedderError:
        return EmbedderError(f"The embedding endpoint {self._address} {problem}.")


def _batches(texts: Sequence[str]) -> Iterator[list[str]]:
    """Lists of bounded length, in order; a text is never split."""
    batch: list[str] = []
    characters = 0
    for text in texts:
        if batch and (len(batch) == _BATCH_TEXTS or characters + len(text) > _BATCH_CHARACTERS):
            yield batch
            batch, characters = [], 0
        batch.append(text)
        characters += len(text)
    if batch:
        yield batch
