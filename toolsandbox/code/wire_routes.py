"""Routes that clients of SandboxFusion call: `/run_code`, `/run_jupyter`, `/v1/ping`.

Overload, a sandbox that failed, and a reply that would come too late are 504: the one status that its clients, verl
among them, ask again.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, SerializeAsAny, ValidationError
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from toolsandbox.code.calls import LANGUAGES, CallRefused, choose_limits
from toolsandbox.code.container import Call, SandboxFailed
from toolsandbox.code.pool import PoolFull
from toolsandbox.code.wire import (
    REASONS,
    CommandRunResult,
    RunCodeRequest,
    RunCodeResponse,
    RunJupyterRequest,
    RunJupyterResponse,
    describe_run,
    write_reply,
)
from toolsandbox.code.wire_runs import Notebook, read_files, run_cells, run_with_files
from toolsandbox.contract import CodeAnswer, ToolReply
from toolsandbox.entrance import answer_error, answer_unprocessable
from toolsandbox.tools import Caller, Overloaded

if TYPE_CHECKING:
    from toolsandbox.code.provider import CodeProvider

LATEST_S = 9.0
"""Past the limits that were asked for. Clients wait ten seconds past them."""
LAST_CHANCE_S = 1.5
"""Of these: kept for the run's own end and the reply. The rest is for waiting."""


class WireReply(ToolReply):
    """What a call is counted as, and the body that its client gets."""

    body: SerializeAsAny[BaseModel] | None = None


class WireRoutes:
    def __init__(self, provider: CodeProvider) -> None:
        self._provider = provider

    def routes(self) -> list[BaseRoute]:
        return [
            Route("/run_code", self.run_code, methods=["POST"]),
            Route("/run_jupyter", self.run_jupyter, methods=["POST"]),
            Route("/v1/ping", self.ping, methods=["GET"]),
        ]

    async def ping(self, request: Request) -> Response:
        return JSONResponse("pong")

    async def run_code(self, request: Request) -> Response:
        try:
            asked = RunCodeRequest.model_validate_json(await request.body())
        except ValidationError as error:
            return answer_unprocessable(error)

        async def run(caller: Caller) -> WireReply:
            check_language(asked)
            settings = self._provider.settings
            limits = choose_limits(settings, wall_s=asked.run_timeout)
            answer, fetched, faults = await run_with_files(
                self._provider.require_workshop(),
                Call(asked.language, asked.code, limits, stdin=(asked.stdin or "").encode()),
                tenant=caller.tenant,
                files=read_files(settings, asked.files, asked.fetch_files),
                fetch=asked.fetch_files,
                patience_s=asked.compile_timeout + LATEST_S - LAST_CHANCE_S,
            )
            return WireReply(**count(answer), body=write_reply(answer, fetched, faults))

        longest_s = asked.compile_timeout + asked.run_timeout + LATEST_S
        return await self._perform("run_code", request, run, RunCodeResponse, longest_s=longest_s)

    async def run_jupyter(self, request: Request) -> Response:
        try:
            asked = RunJupyterRequest.model_validate_json(await request.body())
        except ValidationError as error:
            return answer_unprocessable(error)

        async def run(caller: Caller) -> WireReply:
            notebook = await run_cells(
                self._provider.require_workshop(),
                asked.cells,
                tenant=caller.tenant,
                cell_s=asked.cell_timeout or None,
                total_s=asked.total_timeout,
                files=read_files(self._provider.settings, asked.files, asked.fetch_files),
                fetch=asked.fetch_files,
                patience_s=LATEST_S - LAST_CHANCE_S,
            )
            counted = {**count(notebook.answer), "queue_ms": notebook.queue_ms}
            return WireReply(**counted, body=write_notebook(notebook))

        longest_s = asked.total_timeout + LATEST_S
        return await self._perform("run_jupyter", request, run, RunJupyterResponse, longest_s=longest_s)

    async def _perform(
        self,
        name: str,
        request: Request,
        run: Callable[[Caller], Awaitable[WireReply]],
        response: type[RunCodeResponse] | type[RunJupyterResponse],
        *,
        longest_s: float,
    ) -> Response:
        async def run_refusing(caller: Caller) -> WireReply:
            try:
                return await run(caller)
            except CallRefused as refused:
                body = response(status="SandboxError", message=str(refused))
                return WireReply(status="rejected", text=str(refused), body=body)
            except SandboxFailed as failed:
                return WireReply(status="infra_error", text=str(failed), retryable=True)
            except PoolFull as full:
                raise Overloaded(str(full)) from None

        try:
            async with asyncio.timeout(longest_s):
                reply = await self._provider.perform(name, request, run_refusing)
        except Overloaded as full:
            return ask_again(str(full), after_s=full.retry_after_s)
        except TimeoutError:
            return ask_again(f"no reply within {longest_s:g} seconds")
        if reply.status == "infra_error" or reply.body is None:
            return ask_again(reply.text)
        return Response(reply.body.model_dump_json(), media_type="application/json")


def check_language(asked: RunCodeRequest) -> None:
    """Raises `CallRefused`."""
    if asked.language not in LANGUAGES:
        raise CallRefused(f"language {asked.language!r}: this service runs {', '.join(LANGUAGES)} only")
    if asked.args:
        raise CallRefused("args: this service takes no arguments for pytest; leave them out")


def write_notebook(notebook: Notebook) -> RunJupyterResponse:
    """Cells are told only where all of them ran, as the original does: a notebook that ended early has none."""
    answer = notebook.answer
    died = answer.status != "ok" or answer.session_reset
    run = describe_run(answer)
    driver = CommandRunResult(
        status=run.status,
        execution_time=round(notebook.seconds, 6),
        return_code=run.return_code if died else 0,
        stdout="",
        stderr="",
    )
    if not died:
        return RunJupyterResponse(
            status="Success", message=notebook.message, driver=driver, cells=notebook.cells, files=notebook.files
        )
    message = REASONS.get(answer.status, "")
    if not message and driver.status == "Finished":
        message = f"cell {len(notebook.cells)} ended the interpreter"
    return RunJupyterResponse(status="Failed", message=message, driver=driver)


def count(answer: CodeAnswer) -> dict[str, Any]:
    """The fields of a `ToolReply` that an answer has."""
    facts = answer.model_dump(include={"status", "truncated", "wall_ms", "queue_ms"})
    return {**facts, "text": answer.message, "retryable": answer.retryable}


def ask_again(message: str, *, after_s: int = 1) -> Response:
    return answer_error(504, "ask_again", message, retry_after_s=after_s)
