"""The routes of OpenAI's API over one policy."""

import asyncio
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from trainer.sampling.engine import Completion
from trainer.sampling.randomness import seed_for
from trainer.serving.answers import ChatPieces, Heading, ShownLogprobs, count_usage, end_reason, read_message
from trainer.serving.conversation import Prompt, Writer
from trainer.serving.entrance import EventStream, guard, read_body, while_connected
from trainer.serving.refusals import Refused
from trainer.serving.sampling import AskedFor, SampledToken, Sampler, Ticket
from trainer.serving.speech import SpeechReader
from trainer.serving.token_text import TextStream, TokenNames
from trainer.serving.wire import ChatRequest, CompletionRequest, Sampling

SHORT_COMPLETION = 16
"""OpenAI's default for /v1/completions; a chat's answer may fill the context."""
MOST_PROMPTS = 128
Tell = Callable[[dict[str, Any]], Awaitable[None]]


@dataclass
class Served:
    """One policy under one name."""

    name: str
    sampler: Sampler
    writer: Writer
    created: int = field(default_factory=lambda: int(time.time()))

    def __post_init__(self) -> None:
        self.logprobs = ShownLogprobs(TokenNames(self.writer.tokenizer))

    # Routes

    async def live(self, request: Request) -> Response:
        return JSONResponse({"status": "live"})

    async def ready(self, request: Request) -> Response:
        working, waiting = self.sampler.load
        state = "ready" if self.sampler.works else "not ready"
        body = {"status": state, "model": self.name, "working": working, "waiting": waiting}
        return JSONResponse(body, status_code=200 if self.sampler.works else 503)

    async def models(self, request: Request) -> Response:
        return JSONResponse({"object": "list", "data": [self._card()]})

    async def model(self, request: Request) -> Response:
        self._check_name(request.path_params["name"])
        return JSONResponse(self._card())

    async def chat(self, request: Request) -> Response:
        asked = await read_body(request, ChatRequest)
        self._check_name(asked.model)
        prompt = await asyncio.to_thread(self.writer.write, asked.messages, asked.told_tools)
        told = {tool.function.name: tool.function.parameters or {} for tool in asked.told_tools}
        tickets = self._ask(asked, [prompt], most=asked.most_tokens, looks=asked.looked_at, field="messages")
        heading = Heading("chat", self.name)

        def reader() -> SpeechReader:
            return SpeechReader(told or None, thinking=prompt.thinking)

        if asked.stream:
            return EventStream(lambda tell: self._stream_chat(asked, prompt, tickets, heading, reader, tell))
        completions = await self._finish(request, tickets)
        choices = []
        for place, (ticket, completion) in enumerate(zip(tickets, completions, strict=True)):
            message, reason = read_message(completion, reader())
            choice: dict[str, Any] = {"index": place, "message": message, "finish_reason": reason, "logprobs": None}
            if asked.logprobs:
                choice["logprobs"] = self.logprobs.chat(ticket.tokens)
            if asked.return_token_ids:
                choice["token_ids"] = list(completion.token_ids)
            choices.append(choice)
        body = {**heading.fields(), "choices": choices, "usage": _usage([prompt], completions)}
        if asked.return_token_ids:
            body["prompt_token_ids"] = list(prompt.ids)
        return JSONResponse(body)

    async def complete(self, request: Request) -> Response:
        asked = await read_body(request, CompletionRequest)
        self._check_name(asked.model)
        if not 0 < len(asked.prompts) <= MOST_PROMPTS:
            raise Refused(f"prompt: give 1 to {MOST_PROMPTS} prompts.", field="prompt")
        vocabulary = self.sampler.engine.vocabulary
        prompts = [
            await asyncio.to_thread(self.writer.tokenise, prompt, vocabulary=vocabulary) for prompt in asked.prompts
        ]
        most = SHORT_COMPLETION if asked.max_tokens is None else asked.max_tokens
        tickets = self._ask(asked, prompts, most=most, looks=asked.logprobs, field="prompt")
        heading = Heading("text", self.name)
        if asked.stream:
            return EventStream(lambda tell: self._stream_text(asked, prompts, tickets, heading, tell))
        completions = await self._finish(request, tickets)
        choices = []
        for place, (ticket, completion) in enumerate(zip(tickets, completions, strict=True)):
            prompt = prompts[place // asked.choices]
            choice: dict[str, Any] = {"index": place, "text": completion.text}
            choice["finish_reason"] = end_reason(completion)
            choice["logprobs"] = None if asked.logprobs is None else self.logprobs.completion(ticket.tokens)
            if asked.echo:
                choice["text"] = self.writer.read(asked.prompts[place // asked.choices]) + completion.text
            if asked.echo and asked.logprobs is not None:
                choice["logprobs"] = self.logprobs.echo(prompt.ids[0], [*ticket.prompt, *ticket.tokens])
            if asked.return_token_ids:
                choice["prompt_token_ids"] = list(prompt.ids)
                choice["token_ids"] = list(completion.token_ids)
            choices.append(choice)
        return JSONResponse({**heading.fields(), "choices": choices, "usage": _usage(prompts, completions)})

    # Sampling

    def _ask(
        self, asked: Sampling, prompts: Sequence[Prompt], *, most: int | None, looks: int | None, field: str
    ) -> list[Ticket]:
        """One ticket for each choice of each prompt, prompt by prompt; raises Refused."""
        context = self.sampler.context
        base = secrets.randbits(63) if asked.seed is None else asked.seed
        values = isinstance(asked, CompletionRequest) and bool(asked.echo) and looks is not None
        requests = []
        for number, prompt in enumerate(prompts):
            place = f"{field}[{number}]" if len(prompts) > 1 else field
            if not prompt.ids:
                raise Refused(f"{place}: is empty; the first token needs something to follow.", field=place)
            room = context - len(prompt.ids)
            if room < 0 or (room == 0 and most != 0):
                raise Refused(
                    f"{place}: has {len(prompt.ids)} tokens and the context is {context}: nothing can be written "
                    "after it. Shorten the conversation or what tools answer, or serve with a longer --context.",
                    field=place,
                    code="context_length_exceeded",
                )
            for choice in range(asked.choices):
                # The first choice draws by the request's own seed, as the engine would for it.
                seed = base if number == choice == 0 else seed_for(base, f"choice {number}.{choice}")
                requests.append(
                    AskedFor(
                        prompt_ids=prompt.ids,
                        max_new_tokens=max(1, min(room, most or room)),
                        temperature=asked.drawn_at,
                        top_p=asked.top_p or 1.0,
                        seed=seed,
                        stop=tuple(asked.stop),
                        ticket=Ticket(listens=bool(asked.stream), looks=looks or 0, values=values),
                        writes=most != 0,
                    )
                )
        self.sampler.ask(requests)
        return [request.ticket for request in requests]

    async def _finish(self, request: Request, tickets: Sequence[Ticket]) -> list[Completion]:
        async def wait() -> list[Completion]:
            return [await ticket.completion() for ticket in tickets]

        try:
            return await while_connected(request, wait())
        finally:
            self.sampler.leave(tickets)

    # Streams

    async def _stream_chat(
        self,
        asked: ChatRequest,
        prompt: Prompt,
        tickets: Sequence[Ticket],
        heading: Heading,
        reader: Callable[[], SpeechReader],
        tell: Tell,
    ) -> None:
        async def play(place: int, ticket: Ticket) -> Completion:
            async def say(
                delta: dict[str, Any], tokens: Sequence[SampledToken] = (), reason: str | None = None
            ) -> None:
                choice: dict[str, Any] = {"index": place, "delta": delta, "finish_reason": reason, "logprobs": None}
                if asked.logprobs and tokens:
                    choice["logprobs"] = self.logprobs.chat(tokens)
                if asked.return_token_ids and tokens:
                    choice["token_ids"] = [one.token for one in tokens]
                await tell({**heading.fields(piece=True), "choices": [choice], **ending})

            wants_tokens = bool(asked.logprobs or asked.return_token_ids)
            pieces = ChatPieces(TextStream(self.writer.tokenizer, asked.stop), reader())
            await say({"role": "assistant", "content": ""})
            while isinstance(event := await ticket.events.get(), SampledToken):
                deltas = pieces.add(event) or ([{}] if wants_tokens else [])
                for number, delta in enumerate(deltas):
                    await say(delta, [event] if number == 0 else [])
            if isinstance(event, Refused):
                raise event
            deltas, reason = pieces.finish(event)
            for delta in deltas:
                await say(delta)
            await say({}, reason=reason)
            return event

        ending = {"usage": None} if asked.wants_usage else {}
        completions = await self._play_all(tickets, play)
        if asked.wants_usage:
            await tell({**heading.fields(piece=True), "choices": [], "usage": _usage([prompt], completions)})

    async def _stream_text(
        self,
        asked: CompletionRequest,
        prompts: Sequence[Prompt],
        tickets: Sequence[Ticket],
        heading: Heading,
        tell: Tell,
    ) -> None:
        async def play(place: int, ticket: Ticket) -> Completion:
            offset = 0

            async def say(text: str, tokens: Sequence[SampledToken] = (), reason: str | None = None) -> None:
                nonlocal offset
                choice: dict[str, Any] = {"index": place, "text": text, "finish_reason": reason, "logprobs": None}
                if asked.logprobs is not None and tokens:
                    choice["logprobs"] = self.logprobs.completion(tokens, offset=offset)
                    offset += sum(map(len, choice["logprobs"]["tokens"]))
                if asked.return_token_ids and tokens:
                    choice["token_ids"] = [one.token for one in tokens]
                await tell({**heading.fields(piece=True), "choices": [choice], **ending})

            wants_tokens = asked.logprobs is not None or asked.return_token_ids
            stream = TextStream(self.writer.tokenizer, asked.stop)
            while isinstance(event := await ticket.events.get(), SampledToken):
                text = stream.add(event.token)
                if text or wants_tokens:
                    await say(text, [event])
            if isinstance(event, Refused):
                raise event
            await say(stream.finish(event.text), reason=end_reason(event))
            return event

        ending = {"usage": None} if asked.wants_usage else {}
        completions = await self._play_all(tickets, play)
        if asked.wants_usage:
            await tell({**heading.fields(piece=True), "choices": [], "usage": _usage(prompts, completions)})

    async def _play_all(
        self, tickets: Sequence[Ticket], play: Callable[[int, Ticket], Awaitable[Completion]]
    ) -> list[Completion]:
        """All choices side by side; when one fails, or nobody listens any more, all are let go."""
        playing = [asyncio.ensure_future(play(place, ticket)) for place, ticket in enumerate(tickets)]
        try:
            return list(await asyncio.gather(*playing))
        finally:
            for one in playing:
                one.cancel()
            self.sampler.leave(tickets)

    def _check_name(self, name: str) -> None:
        if name != self.name:
            shown = name[:100]
            raise Refused(
                f"model: this server has no {shown!r}; it serves {self.name!r}.",
                status=404,
                field="model",
                code="model_not_found",
            )

    def _card(self) -> dict[str, Any]:
        return {
            "id": self.name,
            "object": "model",
            "created": self.created,
            "owned_by": "chanote",
            "max_model_len": self.sampler.context,
        }


def _usage(prompts: Sequence[Prompt], completions: Sequence[Completion]) -> dict[str, int]:
    return count_usage(sum(len(prompt.ids) for prompt in prompts), [len(one.token_ids) for one in completions])


async def on_http_fault(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    sentence = f"{request.method} {request.url.path[:200]}: {error.detail}; see /v1/models, /v1/chat/completions."
    return Refused(sentence, status=error.status_code).response()


def build_app(served: Served, *, tokens: Sequence[bytes] = ()) -> Starlette:
    """Samples from startup to shutdown. /livez, /readyz and /health need no token."""

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        served.sampler.start()
        yield
        await served.sampler.stop()

    def closed(path: str, handler: Callable[[Request], Awaitable[Response]], method: str) -> Route:
        return Route(path, guard(handler, tokens), methods=[method])

    return Starlette(
        routes=[
            Route("/livez", served.live),
            Route("/readyz", served.ready),
            Route("/health", served.ready),
            closed("/v1/models", served.models, "GET"),
            closed("/v1/models/{name:path}", served.model, "GET"),
            closed("/v1/chat/completions", served.chat, "POST"),
            closed("/v1/completions", served.complete, "POST"),
        ],
        lifespan=lifespan,
        exception_handlers={HTTPException: on_http_fault},
    )
