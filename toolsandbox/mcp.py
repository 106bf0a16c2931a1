"""The tools over the Model Context Protocol: streamable HTTP at `/mcp`, and standard input and output.

A tool's failure is in its result with `isError`, where the model sees it; only an unknown tool is an error of the
protocol. An MCP session is a trajectory: its calls share the state of stateful tools.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import mcp_types as types
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel import Server
from mcp.server.stdio import stdio_server
from mcp.server.streamable_http_manager import StreamableHTTPASGIApp, StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings
from mcp.shared.exceptions import MCPError
from starlette.datastructures import Headers
from starlette.routing import BaseRoute, Route
from starlette.types import ASGIApp, Receive, Scope, Send

from toolsandbox.arguments import function_schema
from toolsandbox.contract import CallRequest, ToolReply
from toolsandbox.entrance import tenant_of
from toolsandbox.tools import Overloaded, Tool, ToolProvider, ToolUnavailable

if TYPE_CHECKING:
    from toolsandbox.service import Service

INVALID_PARAMS = -32602
SESSION_IDLE_S = 1800.0


class McpTools:
    """One MCP server over the tools of a service."""

    def __init__(self, service: Service) -> None:
        self._service = service
        self.server: Server[Any] = Server("chanote-toolsandbox", on_list_tools=self._list, on_call_tool=self._call)
        self._manager = StreamableHTTPSessionManager(
            self.server,
            json_response=True,
            security_settings=_guard(service.settings.host),
            session_idle_timeout=SESSION_IDLE_S,
            max_request_body_size=service.settings.max_body_bytes,
        )

    def routes(self) -> list[BaseRoute]:
        return [Route("/mcp", _Endpoint(StreamableHTTPASGIApp(self._manager), self._end_session))]

    async def _end_session(self, tenant: str, session: str) -> None:
        """What the tools keep of a trajectory whose client has closed its session."""
        for provider in self._service.providers:
            end = getattr(provider, "end_session", None)
            if end is not None:
                await end(tenant, session)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        async with self._manager.run():
            yield

    async def _list(self, context: Any, params: types.PaginatedRequestParams | None) -> types.ListToolsResult:
        return types.ListToolsResult(tools=[_describe(tool) for tool in self._service.tools.values()])

    async def _call(
        self, context: ServerRequestContext[Any, Any], params: types.CallToolRequestParams
    ) -> types.CallToolResult:
        tool = self._service.tools.get(params.name)
        if tool is None:
            raise MCPError(INVALID_PARAMS, f"no such tool: {params.name[:100]!r}")
        request = context.request
        tenant = tenant_of(request) if request is not None else "default"
        session = request.headers.get("mcp-session-id") if request is not None else "stdio"
        # The tool checks its arguments itself, so that a nested one is told to the model and not to the protocol.
        asked = CallRequest.model_construct(arguments=params.arguments or {}, session=session)
        try:
            reply = (await self._service.call(tool, asked, tenant=tenant)).result
        except (Overloaded, ToolUnavailable) as error:
            reply = ToolReply(status="infra_error", text=str(error), retryable=True)
        return types.CallToolResult(
            content=[types.TextContent(type="text", text=reply.text)],
            structured_content=reply.model_dump(mode="json"),
            is_error=reply.status != "ok",
        )


class _Endpoint:
    """The SDK's endpoint, which tells nobody when a client ends its session."""

    def __init__(self, app: ASGIApp, end: Callable[[str, str], Awaitable[None]]) -> None:
        self._app = app
        self._end = end

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)
        session = Headers(scope=scope).get("mcp-session-id")
        if scope["method"] == "DELETE" and session is not None:
            await self._end(scope["tenant"], session)


def _describe(tool: Tool) -> types.Tool:
    function = function_schema(tool)["function"]
    return types.Tool(
        name=tool.name,
        description=tool.description,
        input_schema=function["parameters"],
        annotations=types.ToolAnnotations(
            read_only_hint=tool.read_only, idempotent_hint=tool.read_only, open_world_hint=False
        ),
    )


def _guard(host: str) -> TransportSecuritySettings:
    """A page in a browser must not reach the service by a name that it points at this machine. A service that others
    reach goes by names that are not known here; its token keeps strangers out."""
    origins = ["http://127.0.0.1:*", "http://localhost:*", "http://[::1]:*"]
    if host not in {"127.0.0.1", "localhost", "::1"}:
        return TransportSecuritySettings(enable_dns_rebinding_protection=False)
    hosts = [origin.removeprefix("http://") for origin in origins]
    return TransportSecuritySettings(allowed_hosts=[*hosts, "127.0.0.1", "localhost"], allowed_origins=origins)


async def serve_stdio(service: Service, providers: Sequence[ToolProvider]) -> None:
    """Serve one client on standard input and output until it closes them."""
    async with AsyncExitStack() as stack:
        for provider in providers:
            stack.push_async_callback(provider.stop)
            await provider.start()
        reading, writing = await stack.enter_async_context(stdio_server())
        tools = McpTools(service)
        await tools.server.run(reading, writing, tools.server.create_initialization_options())
