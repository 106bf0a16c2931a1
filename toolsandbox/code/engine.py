"""A client of the container engine: the dozen calls the sandbox needs, over the engine's socket and nothing else."""

import asyncio
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

API = "v1.41"
"""Engine 20.10 and later."""


class EngineError(Exception):
    """The engine could not be reached or refused. Never the fault of the program that was to run."""

    def __init__(self, message: str, *, http_status: int | None = None) -> None:
        super().__init__(message)
        self.http_status = http_status


class AttachedStreams:
    """Standard streams of a container. The engine marks each piece with its stream and length (8 bytes)."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    async def read(self) -> tuple[int, bytes]:
        """Next piece as (1 for stdout or 2 for stderr, bytes); raises `EOFError` once the container is gone."""
        try:
            head = await self._reader.readexactly(8)
            piece = await self._reader.readexactly(int.from_bytes(head[4:], "big"))
        except (asyncio.IncompleteReadError, ConnectionError) as closed:
            raise EOFError("the container closed its streams") from closed
        return head[0], piece

    async def write(self, data: bytes) -> None:
        try:
            self._writer.write(data)
            await self._writer.drain()
        except ConnectionError as closed:
            raise EOFError("the container closed its streams") from closed

    @property
    def is_closed(self) -> bool:
        """The container ended, or the engine went away. Known without asking: the connection tells."""
        return self._reader.at_eof() or self._writer.is_closing()

    def close(self) -> None:
        self._writer.close()


class Engine:
    """One connection per request: an attached container holds its own, so no pool can run dry."""

    def __init__(self, socket: Path, *, timeout_s: float = 60.0) -> None:
        self.socket = socket
        self.timeout_s = timeout_s

    async def _send(
        self, method: str, path: str, body: Any, *, upgrade: bool
    ) -> tuple[int, dict[str, str], asyncio.StreamReader, asyncio.StreamWriter]:
        try:
            reader, writer = await asyncio.open_unix_connection(str(self.socket), limit=1 << 20)
        except OSError as refused:
            reason = refused.strerror or refused
            raise EngineError(f"no container engine at {self.socket} ({reason}); start it or name its socket") from None
        content = b"" if body is None else json.dumps(body).encode()
        lines = [f"{method} /{API}{path} HTTP/1.1", "Host: engine", f"Content-Length: {len(content)}"]
        lines.append("Content-Type: application/json" if content else "Accept: application/json")
        lines += ["Connection: Upgrade", "Upgrade: tcp"] if upgrade else ["Connection: close"]
        try:
            writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + content)
            await writer.drain()
            head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            raise EngineError(f"the container engine closed the connection during {method} {path}") from None
        except BaseException:
            writer.close()
            raise
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        return int(head[0].split()[1]), headers, reader, writer

    async def request(self, method: str, path: str, *, body: Any = None, missing_ok: bool = False) -> Any:
        """Answer decoded from JSON, or None where it is empty. Raises `EngineError`."""
        try:
            async with asyncio.timeout(self.timeout_s):
                status, headers, reader, writer = await self._send(method, path, body, upgrade=False)
                try:
                    content = await _read_content(headers, reader)
                finally:
                    writer.close()
        except TimeoutError:
            raise EngineError(f"the container engine did not answer {method} {path} in {self.timeout_s:g} s") from None
        if status == 404 and missing_ok:
            return None
        if status >= 400:
            try:
                reason = json.loads(content)["message"]
            except (ValueError, KeyError, TypeError):
                reason = content[:200].decode("utf-8", "replace")
            raise EngineError(f"the container engine refused {method} {path}: {reason}", http_status=status)
        return json.loads(content) if content.strip() else None

    async def ping(self) -> dict[str, Any]:
        return dict(await self.request("GET", "/version"))

    async def require_runtime(self, name: str) -> None:
        """Raises `EngineError` unless the engine knows the runtime."""
        known = sorted((await self.request("GET", "/info")).get("Runtimes") or {})
        if name not in known:
            raise EngineError(
                f"the container engine knows no runtime {name}, only {', '.join(known)}; "
                "set `runtime` to one of them or add it to the engine's settings"
            )

    async def inspect_image(self, name: str) -> dict[str, Any] | None:
        found = await self.request("GET", f"/images/{quote(name, safe=':@')}/json", missing_ok=True)
        return None if found is None else dict(found)

    async def create(self, spec: dict[str, Any], *, name: str) -> str:
        return str((await self.request("POST", f"/containers/create?name={quote(name)}", body=spec))["Id"])

    async def start(self, container: str) -> None:
        await self.request("POST", f"/containers/{container}/start")

    async def inspect(self, container: str) -> dict[str, Any] | None:
        found = await self.request("GET", f"/containers/{container}/json", missing_ok=True)
        return None if found is None else dict(found)

    async def kill(self, container: str) -> None:
        """No error when it is gone or not running."""
        try:
            await self.request("POST", f"/containers/{container}/kill?signal=KILL", missing_ok=True)
        except EngineError as refused:
            if refused.http_status != 409:
                raise

    async def remove(self, container: str) -> None:
        """Kill and remove. No error when it is gone or another remover is at it."""
        try:
            await self.request("DELETE", f"/containers/{container}?force=1&v=1", missing_ok=True)
        except EngineError as refused:
            if refused.http_status != 409:
                raise

    async def list_labelled(self, label: str) -> list[dict[str, Any]]:
        filters = json.dumps({"label": [label]})
        return list(await self.request("GET", "/containers/json?" + urlencode({"all": 1, "filters": filters})))

    async def attach(self, container: str) -> AttachedStreams:
        path = f"/containers/{container}/attach?stream=1&stdin=1&stdout=1&stderr=1"
        try:
            async with asyncio.timeout(self.timeout_s):
                status, headers, reader, writer = await self._send("POST", path, None, upgrade=True)
        except TimeoutError:
            raise EngineError("the container engine did not attach in time") from None
        if status not in (101, 200):
            content = await _read_content(headers, reader)
            writer.close()
            raise EngineError(f"the container engine refused to attach: {content[:200].decode('utf-8', 'replace')}")
        return AttachedStreams(reader, writer)


async def _read_content(headers: dict[str, str], reader: asyncio.StreamReader) -> bytes:
    try:
        if headers.get("transfer-encoding", "").lower() == "chunked":
            pieces = []
            while size := int((await reader.readline()).split(b";")[0] or b"0", 16):
                pieces.append(await reader.readexactly(size))
                await reader.readline()
            return b"".join(pieces)
        if "content-length" in headers:
            return await reader.readexactly(int(headers["content-length"]))
        return await reader.read()
    except (OSError, asyncio.IncompleteReadError):
        raise EngineError("the container engine closed the connection in the middle of an answer") from None
