"""The code tools as the service mounts them: two tools, verifiers, files as streams, health and measures."""

import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar

import structlog
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.metrics_core import Metric
from pydantic import ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response, StreamingResponse
from starlette.routing import BaseRoute, Route

from toolsandbox.code.calls import CallRefused
from toolsandbox.code.container import SandboxFailed
from toolsandbox.code.engine import EngineError
from toolsandbox.code.pool import PoolFull
from toolsandbox.code.probe import ProbeReport, require_hardness
from toolsandbox.code.settings import CodeSettings
from toolsandbox.code.texts import write_tests_text, write_text
from toolsandbox.code.wire_routes import WireRoutes
from toolsandbox.code.workshop import Workshop
from toolsandbox.contract import (
    CodeReply,
    RunPython,
    RunTests,
    TestsReply,
    ToolReply,
    TrialReply,
    TrialRequest,
    VerifyReply,
    VerifyRequest,
)
from toolsandbox.entrance import answer_error, describe_fault, open_call, run_while_connected, tenant_of
from toolsandbox.tools import Caller, Health, Overloaded, Tool, ToolUnavailable

log = structlog.get_logger("toolsandbox.code")
Reply = TypeVar("Reply", bound=ToolReply)
Asked = TypeVar("Asked", VerifyRequest, TrialRequest)


class BatchCount(ToolReply):
    """A batch of functions, as the service counts it; without a reply where the sandbox failed for all of it."""

    reply: VerifyReply | TrialReply | None = None


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
            await workshop.wait_until_warm()
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

    async def end_session(self, tenant: str, session: str) -> bool:
        """Answers whether there was one."""
        return self.workshop is not None and await self.workshop.end_session(tenant, session)

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
                "sessions": self.workshop.open_sessions,
                "attacks_held": len(self.report.held) if self.report else 0,
            },
        )

    def collect(self) -> Iterable[Metric]:
        """Measures of the pools, for Prometheus."""
        containers = GaugeMetricFamily("toolsandbox_containers", "Containers of the pools", labels=["tier", "state"])
        waiting = GaugeMetricFamily("toolsandbox_container_waiters", "Calls that wait for a container", labels=["tier"])
        sessions = GaugeMetricFamily("toolsandbox_sessions", "Open sessions")
        failing = GaugeMetricFamily(
            "toolsandbox_pool_failing", "The last container could not be started", labels=["tier"]
        )
        if self.workshop is not None:
            for tier, pool in (("a", self.workshop.pool), ("b", self.workshop.batch_pool)):
                containers.add_metric([tier, "warm"], pool.ready)
                containers.add_metric([tier, "leased"], pool.leased)
                waiting.add_metric([tier], pool.waiting)
                failing.add_metric([tier], bool(pool.last_error))
            sessions.add_metric([], self.workshop.open_sessions)
        return [containers, waiting, sessions, failing]

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
            Route("/v1/verifiers", self._judge_verifiers, methods=["POST"]),
            Route("/v1/functions", self._try_functions, methods=["POST"]),
            Route(path, self._put_file, methods=["PUT"]),
            Route(path, self._get_file, methods=["GET"]),
            Route("/v1/sessions/{session}", self._end_session, methods=["DELETE"]),
            *WireRoutes(self).routes(),
        ]

    def require_workshop(self) -> Workshop:
        """Raises `ToolUnavailable` with the reason why there is none."""
        if self.workshop is None:
            raise ToolUnavailable(self.reason)
        return self.workshop

    async def perform(self, name: str, request: Request, work: Callable[[Caller], Awaitable[Reply]]) -> Reply:
        """Work of a route that is no tool's: in its turn, counted, logged, and cancelled if its client goes away."""
        service = request.app.state.service
        calling = service.perform(name, work, caller=open_call(tenant_of(request)), family=type(self).__name__)
        reply: Reply = await run_while_connected(request, calling)
        return reply

    async def _run_python(self, arguments: RunPython, caller: Caller) -> ToolReply:
        workshop = self.require_workshop()
        try:
            limits = workshop.choose_limits(wall_s=arguments.timeout_s)
            answer = await workshop.run(arguments.code, tenant=caller.tenant, session=caller.session, limits=limits)
        except CallRefused as refused:
            answer = workshop.stamp.answer("rejected", message=str(refused))
        except PoolFull as full:
            raise Overloaded(str(full)) from None
        return CodeReply(
            status=answer.status,
            text=write_text(answer),
            retryable=answer.retryable,
            truncated=answer.truncated,
            queue_ms=answer.queue_ms,
            detail=answer,
        )

    async def _run_tests(self, arguments: RunTests, caller: Caller) -> ToolReply:
        workshop = self.require_workshop()
        try:
            limits = workshop.choose_limits(wall_s=arguments.timeout_s)
            answer = await workshop.run_tests(arguments.code, arguments.tests, tenant=caller.tenant, limits=limits)
        except CallRefused as refused:
            return ToolReply(status="rejected", text=str(refused))
        except PoolFull as full:
            raise Overloaded(str(full)) from None
        return TestsReply(
            status=answer.status,
            text=write_tests_text(answer),
            retryable=answer.status == "infra_error",
            queue_ms=answer.queue_ms,
            detail=answer,
        )

    async def _judge_verifiers(self, request: Request) -> Response:
        return await self._answer_batch("verifiers", request, VerifyRequest, Workshop.judge_verifiers)

    async def _try_functions(self, request: Request) -> Response:
        return await self._answer_batch("functions", request, TrialRequest, Workshop.try_functions)

    async def _answer_batch(
        self, name: str, request: Request, asked_as: type[Asked], answer: Callable[..., Awaitable[Any]]
    ) -> Response:
        try:
            asked = asked_as.model_validate_json(await request.body())
        except ValidationError as error:
            return answer_error(400, "bad_request", describe_fault(error))

        async def judge(caller: Caller) -> BatchCount:
            try:
                reply = await answer(self.require_workshop(), asked, tenant=caller.tenant)
            except PoolFull as full:
                raise Overloaded(str(full)) from None
            except SandboxFailed as failed:
                return BatchCount(status="infra_error", text=str(failed), retryable=True)
            facts = reply.model_dump(include={"status", "retryable", "queue_ms"})
            return BatchCount(**facts, text="", reply=reply)

        counted = await self.perform(name, request, judge)
        if counted.reply is None:
            return answer_error(503, "infra_error", counted.text, retry_after_s=1)
        reply = counted.reply.model_copy(update={"wall_ms": counted.wall_ms, "queue_ms": counted.queue_ms})
        return Response(reply.model_dump_json(), media_type="application/json")

    async def _put_file(self, request: Request) -> Response:
        length = request.headers.get("content-length", "")
        if not length.isdigit():
            return answer_error(
                411, "length_required", "Content-Length: the size of the file is needed before its bytes"
            )
        try:
            await self.require_workshop().put_file(
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
        pieces = self.require_workshop().get_file(
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
        self.require_workshop()
        found = await self.end_session(tenant_of(request), request.path_params["session"])
        return JSONResponse({"ended": found}, status_code=200 if found else 404)
