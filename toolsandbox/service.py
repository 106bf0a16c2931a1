"""The HTTP service: authentication, limits, the native endpoints, and whatever routes the providers bring."""

import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeVar, cast

import structlog
from prometheus_client.registry import Collector
from pydantic import BaseModel, ValidationError
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from toolsandbox.arguments import BadArguments, function_schema, read_arguments
from toolsandbox.contract import CallReply, CallRequest, ToolReply
from toolsandbox.entrance import (
    BodyTooLarge,
    ClientGone,
    Entrance,
    answer_error,
    describe_fault,
    open_call,
    run_while_connected,
    tenant_of,
)
from toolsandbox.gate import Gate
from toolsandbox.mcp import McpTools
from toolsandbox.measures import Measures
from toolsandbox.openapi import describe_service
from toolsandbox.replays import KeyReused, Replays
from toolsandbox.settings import ServiceSettings, read_tokens
from toolsandbox.tools import Caller, Overloaded, Tool, ToolProvider, ToolUnavailable

log = structlog.get_logger("toolsandbox")
Reply = TypeVar("Reply", bound=ToolReply)


def answer(reply: BaseModel, status_code: int = 200) -> Response:
    return Response(reply.model_dump_json(), status_code=status_code, media_type="application/json")


class Service:
    """What the routes share while the service runs."""

    def __init__(self, settings: ServiceSettings, providers: Sequence[ToolProvider]) -> None:
        self.settings = settings
        self.providers = list(providers)
        self.tools: dict[str, Tool] = {}
        self.gates: dict[str, Gate] = {}
        """One per family of tools, that is per provider."""
        self._families: dict[str, str] = {}
        for provider in self.providers:
            family = type(provider).__name__
            self.gates[family] = Gate(running=settings.max_concurrent_calls, waiting=settings.max_waiting_calls)
            for tool in provider.tools():
                if tool.name in self.tools:
                    raise ValueError(f"two providers offer a tool named {tool.name}")
                self.tools[tool.name] = tool
                self._families[tool.name] = family
        self.document: dict[str, Any] = {}
        """OpenAPI of everything that is mounted."""
        self.schemas = [function_schema(tool) for tool in self.tools.values()]
        self.replays = Replays()
        self.measures = Measures(self.gates)
        for provider in self.providers:
            if hasattr(provider, "collect"):
                self.measures.add(cast(Collector, provider))

    async def call(self, tool: Tool, request: CallRequest, *, tenant: str) -> CallReply:
        """One call from arguments to terminal status. Raises `Overloaded`, `ToolUnavailable` or `KeyReused`."""
        if request.idempotency_key is None:
            return await self._run(tool, request, tenant=tenant)
        content = request.model_dump_json(include={"arguments", "session"}).encode()
        key = (tenant, tool.name, request.idempotency_key)
        return await self.replays.once(
            key, hashlib.sha256(content).digest(), lambda: self._run(tool, request, tenant=tenant)
        )

    async def _run(self, tool: Tool, request: CallRequest, *, tenant: str) -> CallReply:
        caller = open_call(tenant, request.session)
        try:
            arguments = read_arguments(tool, request.arguments)
        except BadArguments as error:
            result = ToolReply(status="rejected", text=str(error))
            self._note(tool.name, caller, result)
        else:
            result = await self.perform(
                tool.name, lambda caller: tool.run(arguments, caller), caller=caller, family=self._families[tool.name]
            )
        return CallReply.model_construct(id=caller.call_id, tool=tool.name, session=request.session, result=result)

    async def perform(
        self, name: str, work: Callable[[Caller], Awaitable[Reply]], *, caller: Caller, family: str
    ) -> Reply:
        """Work in its turn, timed, counted and noted in the log. Raises `Overloaded` or `ToolUnavailable`."""
        arrived = time.perf_counter()
        try:
            async with self.gates[family].admit(caller.tenant):
                begun = time.perf_counter()
                result = await work(caller)
        except (Overloaded, ToolUnavailable) as error:
            reason = "overloaded" if isinstance(error, Overloaded) else "unavailable"
            self.measures.count_refusal(name, reason)
            log.info("refused", tool=name, reason=reason, tenant=caller.tenant, call=caller.call_id)
            raise
        ended = time.perf_counter()
        # A tool that waited itself, for a sandbox, has said how long.
        waited_ms = (begun - arrived) * 1e3 + result.queue_ms
        spent = {"queue_ms": waited_ms, "wall_ms": (ended - arrived) * 1e3 - waited_ms}
        result = result.model_copy(update={name: round(max(0.0, value), 3) for name, value in spent.items()})
        self._note(name, caller, result)
        return result

    def _note(self, name: str, caller: Caller, result: ToolReply) -> None:
        self.measures.count(name, result)
        log.info(
            "call",
            tool=name,
            status=result.status,
            tenant=caller.tenant,
            call=caller.call_id,
            session=caller.session,
            ms=result.wall_ms,
            queue_ms=result.queue_ms,
        )

    # Endpoints

    async def call_tool(self, request: Request) -> Response:
        tool = self.tools.get(request.path_params["name"])
        if tool is None:
            return answer_error(404, "unknown_tool", f"no such tool; there are {', '.join(self.tools) or 'none'}")
        try:
            body = CallRequest.model_validate_json(await request.body())
        except ValidationError as error:
            return answer_error(400, "bad_request", describe_fault(error))
        calling = self.call(tool, body, tenant=tenant_of(request))
        if tool.read_only:
            # Over before anybody could hang up.
            return answer(await calling)
        return answer(await run_while_connected(request, calling))

    async def list_tools(self, request: Request) -> Response:
        return JSONResponse({"tools": self.schemas})

    async def live(self, request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(self, request: Request) -> Response:
        parts = {type(provider).__name__: provider.health() for provider in self.providers}
        ready = all(health.ready for health in parts.values())
        shown = {
            name: {"ready": part.ready, "detail": part.detail, "facts": part.facts} for name, part in parts.items()
        }
        return JSONResponse(
            {"status": "ready" if ready else "not ready", "parts": shown}, status_code=200 if ready else 503
        )

    async def metrics(self, request: Request) -> Response:
        return Response(self.measures.render(), media_type="text/plain; version=0.0.4; charset=utf-8")

    async def openapi(self, request: Request) -> Response:
        return JSONResponse(self.document)


async def on_overload(request: Request, error: Exception) -> Response:
    assert isinstance(error, Overloaded)
    return answer_error(429, "overloaded", str(error), retry_after_s=error.retry_after_s)


async def on_unavailable(request: Request, error: Exception) -> Response:
    assert isinstance(error, ToolUnavailable)
    return answer_error(503, "unavailable", str(error), retry_after_s=error.retry_after_s)


async def on_key_reused(request: Request, error: Exception) -> Response:
    return answer_error(409, "key_reused", str(error))


async def on_large_body(request: Request, error: Exception) -> Response:
    return answer_error(413, "too_large", str(error))


async def on_client_gone(request: Request, error: Exception) -> Response:
    """Nobody reads it. A call with an idempotency key goes on, for the client that comes back."""
    log.info("client_gone", path=request.url.path[:200])
    return Response(status_code=499)


async def on_http_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return answer_error(error.status_code, "http", f"{request.method} {request.url.path[:200]}: {error.detail}")


async def on_bug(request: Request, error: Exception) -> Response:
    """`Entrance` logs what happened; the caller learns only that it did."""
    return answer_error(500, "internal", "the service failed; its log says why")


def build_app(settings: ServiceSettings, providers: Sequence[ToolProvider]) -> Entrance:
    """The ASGI application. Providers start before it takes a request and stop after the last."""
    tokens = read_tokens(settings.token_file) if settings.token_file else None
    service = Service(settings, providers)
    mcp_tools = McpTools(service)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with AsyncExitStack() as stack:
            for provider in service.providers:
                stack.push_async_callback(provider.stop)
                try:
                    await provider.start()
                except Exception as error:
                    served.refusal = str(error) or type(error).__name__
                    raise
            await stack.enter_async_context(mcp_tools.running())
            log.info("serving", tools=list(service.tools))
            yield
        log.info("stopped")

    routes = [
        Route("/livez", service.live),
        Route("/readyz", service.ready),
        Route("/metrics", service.metrics),
        Route("/openapi.json", service.openapi),
        Route("/v1/tools", service.list_tools),
        Route("/v1/tools/{name}", service.call_tool, methods=["POST"]),
        *mcp_tools.routes(),
        *(route for provider in service.providers for route in provider.routes()),
    ]
    service.document = describe_service(service.tools.values(), routes)
    app = Starlette(
        routes=routes,
        lifespan=lifespan,
        exception_handlers={
            Overloaded: on_overload,
            ToolUnavailable: on_unavailable,
            KeyReused: on_key_reused,
            BodyTooLarge: on_large_body,
            ClientGone: on_client_gone,
            ClientDisconnect: on_client_gone,
            HTTPException: on_http_fault,
            Exception: on_bug,
        },
    )
    app.state.service = service
    served = Entrance(
        app, tokens=tokens, max_body_bytes=settings.max_body_bytes, max_file_bytes=settings.max_file_bytes
    )
    return served
