"""Requests as OpenAI's API has them. What would change the result and is not offered here is refused, never ignored."""

import json
import re
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, JsonValue, model_validator

MOST_CHOICES = 128
MOST_LOGPROBS = 20
GREEDY_BELOW = 0.01
"""Temperatures under this take the likeliest token: divided by so little, logits leave the numbers."""
TOOL_NAME = r"^[A-Za-z0-9_.:-]{1,128}$"


class Wire(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, frozen=True)


class Loose(Wire):
    """Clients send back what servers answered, with whatever fields those have."""

    model_config = ConfigDict(extra="ignore", strict=True, allow_inf_nan=False, frozen=True)


def _only(*allowed: Any) -> AfterValidator:
    """A field of which only the value that changes nothing is taken."""

    def check(value: Any) -> Any:
        if value is not None and value not in allowed:
            raise ValueError(f"this server does not offer it; leave it out or send {allowed[0]!r}")
        return value

    return AfterValidator(check)


def _join_parts(value: Any) -> Any:
    """Text in parts is text; a part that is no text is refused by its place."""
    if not isinstance(value, list):
        return value
    texts = []
    for place, part in enumerate(value):
        if not isinstance(part, dict) or part.get("type") != "text" or not isinstance(part.get("text"), str):
            raise ValueError(f'part {place} is no {{"type": "text", "text": …}}; this model reads text only')
        texts.append(part["text"])
    return "".join(texts)


def _list_stops(value: Any) -> Any:
    return [value] if isinstance(value, str) else [] if value is None else value


Text = Annotated[str | None, BeforeValidator(_join_parts)]
Stop = Annotated[str, Field(min_length=1, max_length=200)]
Token = Annotated[int, Field(ge=0)]


class StreamOptions(Loose):
    include_usage: bool = False


class Sampling(Wire):
    """What both kinds of completion have in common."""

    model: str = Field(min_length=1, max_length=500)
    max_tokens: int | None = Field(default=None, ge=1)
    temperature: float | None = Field(default=None, ge=0, le=2)
    top_p: float | None = Field(default=None, gt=0, le=1)
    n: int | None = Field(default=None, ge=1, le=MOST_CHOICES)
    seed: int | None = Field(default=None, ge=-(2**63), lt=2**64)
    stop: Annotated[list[Stop], BeforeValidator(_list_stops), Field(max_length=16)] = []
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    return_token_ids: bool = False
    """As vLLM has it: the ids of prompt and completion beside the text."""

    frequency_penalty: Annotated[float | None, _only(0)] = None
    presence_penalty: Annotated[float | None, _only(0)] = None
    repetition_penalty: Annotated[float | None, _only(1)] = None
    logit_bias: Annotated[dict[str, JsonValue] | None, _only({})] = None
    top_k: Annotated[int | None, _only(-1, 0)] = None
    min_p: Annotated[float | None, _only(0)] = None
    # Said for the records of a provider; nothing depends on them.
    user: JsonValue = None
    metadata: JsonValue = None
    store: JsonValue = None
    service_tier: JsonValue = None
    safety_identifier: JsonValue = None
    prompt_cache_key: JsonValue = None

    @property
    def choices(self) -> int:
        return self.n or 1

    @property
    def drawn_at(self) -> float:
        """Temperature; OpenAI's default is 1."""
        wanted = 1.0 if self.temperature is None else self.temperature
        return 0.0 if wanted < GREEDY_BELOW else wanted

    @property
    def wants_usage(self) -> bool:
        return self.stream_options is not None and self.stream_options.include_usage

    @model_validator(mode="after")
    def _check_stream_options(self) -> "Sampling":
        if self.stream_options is not None and not self.stream:
            raise ValueError("stream_options belongs to stream: true; leave it out")
        return self


class CalledFunction(Loose):
    name: str = Field(max_length=1000)
    arguments: str


class ToolCall(Loose):
    id: str = Field(max_length=200)
    type: Literal["function"] = "function"
    function: CalledFunction


class Message(Loose):
    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: Text = None
    tool_calls: list[ToolCall] | None = Field(default=None, max_length=1000)
    tool_call_id: str | None = None

    @model_validator(mode="after")
    def _check_role(self) -> "Message":
        if self.content is None and not (self.role == "assistant" and self.tool_calls):
            raise ValueError("content is missing; only a turn of the assistant with tool_calls may have none")
        if self.tool_calls and self.role != "assistant":
            raise ValueError("tool_calls belong to the assistant's turns")
        if self.tool_call_id is not None and self.role != "tool":
            raise ValueError("tool_call_id belongs to messages of role tool")
        return self


class Function(Wire):
    name: str = Field(pattern=TOOL_NAME)
    description: str | None = None
    parameters: dict[str, JsonValue] | None = None
    strict: Annotated[bool | None, _only(False)] = None

    @model_validator(mode="after")
    def _check_parameters(self) -> "Function":
        properties = (self.parameters or {}).get("properties", {})
        if not isinstance(properties, dict) or not all(isinstance(one, dict) for one in properties.values()):
            raise ValueError("parameters is no JSON schema of an object: properties maps names to schemas")
        return self


class Tool(Wire):
    type: Literal["function"]
    function: Function

    def told(self) -> dict[str, Any]:
        """As the chat template writes it: what the caller gave, in that order."""
        return self.model_dump(exclude_unset=True)


def _check_choice(value: Any) -> Any:
    if value is None or value in ("auto", "none"):
        return value
    raise ValueError("this server offers auto and none; a policy calls tools where it chooses to")


class ChatRequest(Sampling):
    messages: list[Message] = Field(min_length=1, max_length=10_000)
    max_completion_tokens: int | None = Field(default=None, ge=1)
    tools: list[Tool] | None = Field(default=None, max_length=128)
    tool_choice: Annotated[JsonValue, AfterValidator(_check_choice)] = None
    parallel_tool_calls: Annotated[bool | None, _only(True)] = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(default=None, ge=0, le=MOST_LOGPROBS)
    response_format: Annotated[dict[str, JsonValue] | None, _only({"type": "text"})] = None

    @model_validator(mode="after")
    def _check_calls(self) -> "ChatRequest":
        """Every answer of a tool belongs to a call of the turn before it, and every call has one."""
        waiting: list[str] = []
        turn = -1
        for place, message in enumerate(self.messages):
            if message.role == "tool":
                if message.tool_call_id is None:
                    if waiting:
                        raise ValueError(f"messages[{place}].tool_call_id is missing; name the call that it answers")
                    continue
                if message.tool_call_id not in waiting:
                    raise ValueError(
                        f"messages[{place}].tool_call_id is no call of the assistant's turn before it that still "
                        "waits for an answer"
                    )
                waiting.remove(message.tool_call_id)
                continue
            if waiting:
                raise ValueError(f"messages[{turn}].tool_calls: the call {waiting[0][:60]} has no answer of role tool")
            waiting, turn = [call.id for call in message.tool_calls or ()], place
            if len(set(waiting)) < len(waiting):
                raise ValueError(f"messages[{place}].tool_calls: two calls have the same id")
        if waiting:
            raise ValueError(f"messages[{turn}].tool_calls: the call {waiting[0][:60]} has no answer of role tool")
        return self

    @model_validator(mode="after")
    def _check_fields(self) -> "ChatRequest":
        if self.top_logprobs is not None and not self.logprobs:
            raise ValueError("top_logprobs wants logprobs: true")
        names = [tool.function.name for tool in self.tools or ()]
        if len(set(names)) < len(names):
            raise ValueError("tools: two tools have the same name")
        if self.tool_choice is not None and not self.tools:
            raise ValueError("tool_choice wants tools")
        return self

    @property
    def most_tokens(self) -> int | None:
        return self.max_completion_tokens or self.max_tokens

    @property
    def told_tools(self) -> list[Tool]:
        """What the model may call."""
        return [] if self.tool_choice == "none" else list(self.tools or ())

    @property
    def looked_at(self) -> int | None:
        """Likeliest tokens beside each sampled one; None: no log-probabilities at all."""
        return (self.top_logprobs or 0) if self.logprobs else None


class CompletionRequest(Sampling):
    prompt: str | list[str] | list[Token] | list[list[Token]]
    max_tokens: int | None = Field(default=None, ge=0)
    """0 with `echo`: only the prompt is valued, and nothing is written."""
    logprobs: int | None = Field(default=None, ge=0, le=MOST_LOGPROBS)
    echo: bool | None = None
    """The prompt stands before the answer; with `logprobs`, its tokens are valued too."""
    suffix: Annotated[str | None, _only("")] = None
    best_of: Annotated[int | None, _only(1)] = None

    @model_validator(mode="after")
    def _check_echo(self) -> "CompletionRequest":
        if self.max_tokens == 0 and not self.echo:
            raise ValueError("max_tokens is 0, which leaves nothing to answer; ask for 1 or more, or for echo: true")
        if self.echo and self.stream:
            raise ValueError("echo comes whole only; leave stream out")
        return self

    @property
    def prompts(self) -> list[str | list[int]]:
        """One or several; a list of numbers is one prompt in token ids."""
        if isinstance(self.prompt, str):
            return [self.prompt]
        if self.prompt and isinstance(self.prompt[0], int):
            return [[one for one in self.prompt if isinstance(one, int)]]
        return [one for one in self.prompt if not isinstance(one, int)]


def as_arguments(value: Any) -> str:
    """Arguments as JSON text that every encoding takes."""
    text = json.dumps(value, ensure_ascii=False)
    return json.dumps(value) if re.search("[\ud800-\udfff]", text) else text
