"""`python -m trainer serve` where vLLM is installed: its own server, with our names, tools and token."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests.model_serving import Endpoint, begin_server, make_policy, wait_until

pytestmark = [pytest.mark.vllm, pytest.mark.trains]
TOOL = {
    "type": "function",
    "function": {
        "name": "search_law",
        "description": "Find sections.",  # vLLM would tell the model of one that is missing, as null
        "parameters": {"type": "object", "properties": {}},
    },
}
KEY = "a-key-of-the-tests"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("policy")
    make_policy(head_dim=32).save(folder)
    return folder


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Endpoint]:
    folder = tmp_path_factory.mktemp("serve")
    (folder / "key").write_text(f"{KEY}\n")
    os.environ |= {"VLLM_CPU_KVCACHE_SPACE": "1", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
    words = ["--name", "tiny", "--device", "cpu", "--token-file", folder / "key", "--end-with-input"]
    server = begin_server(folder / "log", checkpoint, *words)
    assert server.stdin is not None
    try:
        assert wait_until(folder / "log", "starting", server)["engine"] == "vllm"
        endpoint = Endpoint(f"http://127.0.0.1:{wait_until(folder / 'log', 'listening', server)['port']}")
        endpoint.http.headers["Authorization"] = f"Bearer {KEY}"
        endpoint.wait_until_healthy(server, folder / "log")
        programs = psutil.Process(server.pid).children(recursive=True)
        yield endpoint
        endpoint.http.close()
        server.stdin.close()
        assert server.wait(timeout=120) == 0
        assert not psutil.wait_procs(programs, timeout=60)[1], "vLLM left something running"
    finally:
        server.stdin.close()
        server.kill()
        server.wait()


def test_the_model_is_listed_and_only_the_token_opens_it(endpoint: Endpoint):
    (model,) = endpoint.http.get("/v1/models").json()["data"]
    assert (model["id"], model["max_model_len"]) == ("tiny", 256)
    assert endpoint.http.get("/v1/models", headers={"Authorization": "Bearer wrong-token"}).status_code == 401


def test_it_answers_what_the_torch_engine_answers(endpoint: Endpoint):
    """Greedy tokens, log-probabilities and usage of one chat, by both engines over the same wire."""
    from tests.model_serving import serve_here

    asked: dict[str, Any] = {"temperature": 0, "max_tokens": 12, "logprobs": True, "tools": [TOOL]}
    asked["return_token_ids"] = True
    message = {"role": "user", "content": "When does the market of Phrae open?"}
    theirs = endpoint.chat(message, **asked)
    with serve_here(make_policy(head_dim=32)) as own:
        ours = own.chat(message, **asked)
    assert theirs["prompt_token_ids"] == ours["prompt_token_ids"]
    assert theirs["choices"][0]["token_ids"] == ours["choices"][0]["token_ids"]
    values = [[one["logprob"] for one in answer["choices"][0]["logprobs"]["content"]] for answer in (theirs, ours)]
    assert values[0] == pytest.approx(values[1], abs=1e-3)
    assert theirs["usage"]["prompt_tokens"] == ours["usage"]["prompt_tokens"]
    assert theirs["choices"][0]["finish_reason"] == ours["choices"][0]["finish_reason"]


def test_it_streams(endpoint: Endpoint):
    events = endpoint.stream("/v1/chat/completions", messages=[{"role": "user", "content": "When?"}], max_tokens=5)
    assert events[-1]["choices"][0]["finish_reason"] in ("length", "stop")


def test_the_official_client_reads_what_the_torch_engine_answers():
    """vLLM brings OpenAI's own client: our wire, as its types read it."""
    import openai

    from tests.model_serving import serve_here, serve_script

    ask: Any = [{"role": "user", "content": "When?"}]
    call = '<tool_call>\n{"name": "search_law", "arguments": {"query": "x"}}\n</tool_call>'
    with (
        serve_script(f"I look.\n{call}", f"I look.\n{call}") as (endpoint, _),
        openai.OpenAI(base_url=f"{endpoint.address}/v1", api_key="none", max_retries=0) as client,
    ):
        answer = client.chat.completions.create(model="tiny", messages=ask, tools=[TOOL])
        (made,) = answer.choices[0].message.tool_calls
        assert (made.function.name, made.function.arguments) == ("search_law", '{"query": "x"}')
        with client.chat.completions.stream(model="tiny", messages=ask, tools=[TOOL]) as stream:
            streamed = stream.get_final_completion().choices[0]
        assert streamed.message.content == "I look."
        assert streamed.message.tool_calls[0].function.arguments == '{"query": "x"}'
        assert streamed.finish_reason == "tool_calls"
    with serve_here(make_policy(), tokens=(b"a-long-secret",)) as endpoint:
        with openai.OpenAI(base_url=f"{endpoint.address}/v1", api_key="a-long-secret", max_retries=0) as client:
            assert [one.id for one in client.models.list()] == ["tiny"]
            answer = client.chat.completions.create(
                model="tiny", messages=ask, max_tokens=6, seed=1, logprobs=True, top_logprobs=2, n=2
            )
            assert [len(one.logprobs.content) for one in answer.choices] == [6, 6]
            assert len(answer.choices[0].logprobs.content[0].top_logprobs) == 2
            again = client.completions.create(model="tiny", prompt="When?", max_tokens=6, logprobs=2, seed=1)
            assert len(again.choices[0].logprobs.tokens) == again.usage.completion_tokens
            with pytest.raises(openai.BadRequestError) as wrong:
                client.chat.completions.create(model="tiny", messages=ask, temperature=5)
            assert wrong.value.param == "temperature"
            with pytest.raises(openai.NotFoundError):
                client.chat.completions.create(model="other", messages=ask)
        stranger = openai.OpenAI(base_url=f"{endpoint.address}/v1", api_key="wrong", max_retries=0)
        with stranger, pytest.raises(openai.AuthenticationError):
            stranger.models.list()
