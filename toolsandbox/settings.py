"""Settings of the service, checked once when it starts."""

import ipaddress
import stat
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, model_validator


class ServiceSettings(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)

    host: str = "127.0.0.1"
    port: int = Field(default=8930, ge=0, le=65535)
    corpus: Path | None = None
    language: str | None = None
    """Language of the corpus, `th` or `de` among others; without it the corpus' own letters decide."""
    index_folder: Path | None = None
    """Where built indexes are kept, one folder per corpus hash."""
    embeddings_url: str | None = Field(default=None, pattern=r"^https?://[^\s]+$")
    """A local embedding model as a third signal of search: an OpenAI-compatible `/v1/embeddings`."""
    embeddings_model: str | None = Field(default=None, min_length=1)
    embeddings_query_prefix: str = Field(default="", max_length=200)
    """What the model was trained to see before a query, such as `query: ` of the E5 models."""
    embeddings_passage_prefix: str = Field(default="", max_length=200)
    """The same before a section, such as `passage: `. Another one means another index."""
    token_file: Path | None = None
    """Lines `tenant:token`, or one bare token. Required unless bound to loopback."""
    code: bool = True
    code_settings_file: Path | None = None
    """TOML read by the code tools alone: runtime, image digest, pool sizes, limits."""
    max_body_bytes: int = Field(default=8 << 20, ge=1 << 10)
    max_file_bytes: int = Field(default=64 << 20, ge=1 << 10)
    """Of a file put into a session, which is passed on piece by piece; the code tools may allow less."""
    max_concurrent_calls: int = Field(default=256, ge=1)
    """Of each family of tools: code that waits for a sandbox keeps nobody from searching."""
    max_waiting_calls: int = Field(default=512, ge=0)

    @model_validator(mode="after")
    def _a_reachable_service_needs_a_token(self) -> "ServiceSettings":
        if self.token_file is None and not is_loopback(self.host):
            raise ValueError(
                f"host: {self.host} can be reached from other machines; give --token-file, or bind to 127.0.0.1"
            )
        return self

    @model_validator(mode="after")
    def _an_embedding_model_has_a_name(self) -> "ServiceSettings":
        if (self.embeddings_url is None) != (self.embeddings_model is None):
            raise ValueError("embeddings: give --embeddings-url and --embeddings-model together, or neither")
        if self.embeddings_url is None and (self.embeddings_query_prefix or self.embeddings_passage_prefix):
            raise ValueError("embeddings: a prefix needs --embeddings-url and --embeddings-model")
        return self


def is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def read_tokens(path: Path) -> dict[str, str]:
    """Token to tenant. Refuses a file that other users of the machine can read."""
    if path.stat().st_mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise ValueError(f"token file {path}: other users can read it; run chmod 600 on it")
    tenants: dict[str, str] = {}
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        entry = line.strip()
        if not entry or entry.startswith("#"):
            continue
        tenant, colon, token = entry.partition(":")
        if not colon:
            tenant, token = "default", entry
        if len(token) < 16 or not token.isascii() or not token.isprintable():
            raise ValueError(f"token file {path}, line {number}: a token has at least 16 printable ASCII characters")
        if token in tenants:
            raise ValueError(f"token file {path}, line {number}: this token is there twice")
        tenants[token] = tenant
    if not tenants:
        raise ValueError(f"token file {path}: it holds no token; write one of at least 16 characters")
    return tenants
