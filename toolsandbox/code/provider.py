"""The code tools as the service mounts them: two tools, files as streams, health."""

import tomllib
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import structlog
from pydantic import Field, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from toolsandbox.code.answers import CodeAnswer, TestsAnswer
from toolsandbox.code.container import SandboxFailed
from toolsandbox.code.engine import EngineError
from toolsandbox.code.pool import PoolFull
from toolsandbox.code.probe import ProbeReport, require_hardness
from toolsandbox.code.settings import CodeSettings
from toolsandbox.code.workshop import CallRefused, Workshop
from toolsandbox.contract import ToolArguments, ToolReply
from toolsandbox.entrance import answer_error, tenant_of
from toolsandbox.tools import Caller, Health, Overloaded, Tool, ToolUnavailable

log = structlog.get_logger("toolsandbox.code")


class RunPython(ToolArguments):
    code: str = Field(description="Python program. Variables and files stay for the next call of the same session.")


class RunTests(ToolArguments):
    code: str = Field(description="Python program that defines what the tests call.")
    tests: str = Field(description="One assertion per line, for example: assert add(1, 2) == 3")


class CodeReply(ToolReply):
    detail: CodeAnswer


class TestsReply(ToolReply):
    __test__ = False

    detail: TestsAnswer


def read_settings(path: Path | None) -> CodeSettings:
    """Settings of a TOML file. Raises `ValueError` with the field and the way out."""
    if path is None:
        return CodeSettings()
    try:
        return CodeSettings.model_validate(tomllib.loads(path.read_text(encoding="utf-8")))
    except OSError as missing:
        raise ValueError(f"code settings {path}: {missing.strerror}") from None
    except tomllib.TOMLDecodeError as wrong:
        raise ValueError(f"code settings {path}: {wrong}") from None
    except ValidationError as wrong:
        first = wrong.errors()[0]
        raise ValueError(f"code settings {path}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


class CodeProvider:
    def __init__(self, settings: CodeSettings) -> None:
        self.settings = settings
        self.workshop: Workshop | None = None
        self.report: ProbeReport | None = None
        self.reason = "unavailable: the service has not started"

    async def start(self) -> None:
        """Without an engine or an image the tools answer `unavailable`; a sandbox that does not hold stops all."""
        workshop = Workshop(self.settings)
        try:
            await workshop.open()
        except EngineError as missing:
            self.reason = f"unavailable: {missing}"
            log.warning("code_tools_unavailable", reason=str(missing))
            await workshop.close()
            return
        try:
            self.report = await require_hardness(workshop)
        except (SandboxFailed, PoolFull) as failed:
            self.reason = f"unavailable: {failed}"
            log.warning("code_tools_unavailable", reason=str(failed))
            await workshop.close()
            return
        except BaseException:
            await workshop.close()
            raise
        event = "probe_held" if self.report.passed else "serving_although_the_probe_failed"
        log.info(event, attacks=len(self.report.held), reached=list(self.report.reached))
        self.workshop, self.reason = workshop, ""

    async def stop(self) -> None:
        if self.workshop is not None:
            await self.workshop.close()
            self.workshop = None

    def health(self) -> Health:
        if self.workshop is None:
            # The law tools serve all the same.
            return Health(ready=True, detail=self.reason)
        pool = self.workshop.pool
        return Health(
            ready=not pool.last_error,
            detail=pool.last_error,
            facts={
                "runtime": self.settings.runtime,
                # Empty where every call of a batch has a cgroup of its own; else why it has none.
                "no_cgroup_per_call": self.workshop.no_cgroups,
                "image_digest": self.workshop.image_digest,
                "policy_digest": self.workshop.policy_digest,
                "warm": pool.ready,
                "leased": pool.leased,
                "waiting": pool.waiting,
                "attacks_held": len(self.report.held) if self.report else 0,
            },
        )

    def tools(self) -> Sequence[Tool]:
        return [
            Tool(
                name="run_python",
                description="Run a Python program in a sandbox without network and see what it prints.",
                arguments=RunPython,
                reply=CodeReply,
                run=self._run_python,
            ),
            Tool(
                name="run_tests",
                description="Run assertions against a Python program and see which of them pass.",
                arguments=RunTests,
                reply=TestsReply,
                run=self._run_tests,
            ),
        ]

    def routes(self) -> Sequence[BaseRoute]:
        path = "/v1/sessions/{session}/files/{path:path}"
        return [
            Route(path, self._put_file, methods=["PUT"]),
            Route(path, self._get_file, methods=["GET"]),
            Route("/v1/sessions/{session}", self._end_session, methods=["DELETE"]),
        ]

    def _workshop(self) -> Workshop:
        if self.workshop is None:
            raise ToolUnavailable(self.reason)
        return self.workshop

    async def _run_python(self, arguments: RunPython, caller: Caller) -> CodeReply:
        try:
            answer = await self._workshop().run(arguments.code, tenant=caller.tenant, session=caller.session)
        except PoolFull as full:
            raise Overloaded(str(full)) from None
        return CodeReply(
            status=answer.status,
            text=write_text(answer),
            retryable=answer.retryable,
            truncated=answer.truncated,
            wall_ms=answer.wall_ms,
            queue_ms=answer.queue_ms,
            detail=answer,
        )

    async def _run_tests(self, arguments: RunTests, caller: Caller) -> TestsReply:
        try:
            answer = await self._workshop().run_tests(arguments.code, arguments.tests)
        except PoolFull as full:
            raise Overloaded(str(full)) from None
        lines = [f"{answer.passed} of {answer.total} tests passed"] if answer.status == "ok" else [answer.message]
        lines += [f"failed: {case.test} ({case.detail})" for case in answer.cases if not case.passed]
        return TestsReply(
            status=answer.status,
            text="\n".join(lines),
            retryable=answer.status == "infra_error",
            wall_ms=answer.wall_ms,
            queue_ms=answer.queue_ms,
            detail=answer,
        )

    async def _put_file(self, request: Request) -> Response:
        length = request.headers.get("content-length", "")
        if not length.isdigit():
            return answer_error(
                411, "length_required", "Content-Length: the size of the file is needed before its bytes"
            )
        try:
            await self._workshop().put_file(
                tenant_of(request),
                request.path_params["session"],
                request.path_params["path"],
                int(length),
                request.stream(),
            )
        except CallRefused as refused:
            return answer_error(400, "bad_file", str(refused))
        except SandboxFailed as failed:
            return answer_error(503, "infra_error", str(failed), retry_after_s=1)
        except PoolFull as full:
            raise Overloaded(str(full)) from None
        return Response(status_code=204)

    async def _get_file(self, request: Request) -> Response:
        pieces = self._workshop().get_file(
            tenant_of(request), request.path_params["session"], request.path_params["path"]
        )
        try:
            first = await anext(pieces, b"")
        except CallRefused as refused:
            return answer_error(404, "no_file", str(refused))
        except SandboxFailed as failed:
            return answer_error(503, "infra_error", str(failed), retry_after_s=1)

        async def stream() -> AsyncIterator[bytes]:
            yield first
            async for piece in pieces:
                yield piece

        return StreamingResponse(stream(), media_type="application/octet-stream")

    async def _end_session(self, request: Request) -> Response:
        found = await self._workshop().end_session(tenant_of(request), request.path_params["session"])
        return JSONResponse({"ended": found}, status_code=200 if found else 404)


def write_text(answer: CodeAnswer) -> str:
    """What the policy reads: its output, and one line for anything but a program that ended well."""
    parts = [answer.stdout, answer.stderr]
    if answer.status == "timeout":
        parts.append(f"[stopped: the {answer.limit or 'wall'} time limit was reached]")
    elif answer.status == "oom":
        parts.append("[stopped: out of memory]")
    elif answer.status == "output_limit":
        parts.append("[stopped: too much output; what came before the limit is shown]")
    elif answer.status == "disk_limit":
        parts.append("[the disk is full]")
    elif answer.status == "pids_limit":
        parts.append("[too many processes]")
    elif answer.signal is not None:
        parts.append(f"[ended by signal {answer.signal}]")
    if answer.message:
        parts.append(f"[{answer.message}]")
    if answer.session_reset or answer.session_lost:
        parts.append("[variables of earlier calls are lost]")
    return "\n".join(part.rstrip("\n") for part in parts if part)
