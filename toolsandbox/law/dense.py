"""Vectors of texts from a local embedding model behind an OpenAI-compatible `/v1/embeddings`.

The model is a service of its own, so that this one needs no torch. When it does not answer, a search fails and says
so: ranking without it would give the same query two rankings.
"""

import json
import urllib.request
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from toolsandbox.tools import ToolUnavailable

BATCH = 64
LONGEST_TEXT = 8_000
"""Characters; what a section says beyond them is left to the lexical signals."""
MAX_REPLY_BYTES = 64 << 20


class _RefuseRedirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object, **__: object) -> None:
        """A question goes to the address that was given and nowhere else: the redirect itself becomes the error."""


_OPENER = urllib.request.build_opener(urllib.request.ProxyHandler({}), _RefuseRedirects)


@dataclass(frozen=True)
class Embedder:
    url: str
    """The endpoint, up to and with `/v1/embeddings`."""
    model: str
    query_prefix: str = ""
    passage_prefix: str = ""
    """What the model was trained to see before a query and before a text, such as `query: ` and `passage: ` of E5."""
    seconds: float = 30.0

    def embed_passages(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """Unit vectors, one row per text. Raises `ToolUnavailable` when the endpoint does not give them."""
        prefixed = [self.passage_prefix + text for text in texts]
        return np.concatenate([self._ask(prefixed[begin : begin + BATCH]) for begin in range(0, len(texts), BATCH)])

    def embed_query(self, query: str) -> NDArray[np.float32]:
        """One unit vector. Raises `ToolUnavailable`."""
        vector: NDArray[np.float32] = self._ask([self.query_prefix + query])[0]
        return vector

    def _ask(self, texts: Sequence[str]) -> NDArray[np.float32]:
        body = json.dumps({"model": self.model, "input": [text[:LONGEST_TEXT] for text in texts]}).encode()
        request = urllib.request.Request(self.url, body, {"Content-Type": "application/json"})  # noqa: S310
        try:
            with _OPENER.open(request, timeout=self.seconds) as reply:
                rows = json.loads(reply.read(MAX_REPLY_BYTES))["data"]
            ordered = sorted(rows, key=lambda row: row["index"])
            vectors = np.array([row["embedding"] for row in ordered], dtype=np.float32)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ToolUnavailable(f"the embedding model {self.model!r} does not answer: {error}") from error
        lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
        if vectors.ndim != 2 or len(vectors) != len(texts) or not np.isfinite(lengths).all() or not lengths.all():
            raise ToolUnavailable(f"the embedding model {self.model!r} gave no usable vector for some text")
        unit: NDArray[np.float32] = (vectors / lengths).astype(np.float32)
        return unit
