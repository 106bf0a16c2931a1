"""A taught policy behind the real endpoint, with the real tool service: the published evaluation protocol."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.market_laws import PLACES, day, question, serve_markets
from tests.model_serving import Endpoint, serve_model
from tests.trainer_runs import TINY, run_trainer, write_rows, write_run
from tests.typhoon_protocol import TOOLS, Agent
from trainer.contract.hashing import hash_directory

pytestmark = [pytest.mark.trains]

ASKED = PLACES[:2]
SFT: dict[str, Any] = {
    "kind": "sft",
    "data": [{"dataset": "chat@1"}],
    "steps": 150,
    "batch_size": 4,
    "sequence_length": 512,
    "optimizer": {"learning_rate": 5e-3},
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with serve_markets(tmp_path_factory.mktemp("laws"), places=len(ASKED)) as address:
        yield address


def taught(place: int, address: str) -> dict[str, Any]:
    """A conversation as the protocol's client has it."""
    arguments = {"queries": [f"market {PLACES[place]}"]}
    with Agent("http://unused", address, model="") as agent:
        said = json.dumps({"result": agent.search(arguments["queries"])}, ensure_ascii=False)
    call = {"function": {"name": "search_law", "arguments": arguments}}
    return {
        "messages": [
            {"role": "user", "content": question(place)},
            {"role": "assistant", "content": "", "tool_calls": [call]},
            {"role": "tool", "content": said},
            {"role": "assistant", "content": day(place)},
        ],
        "tools": TOOLS,
    }


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory, service: str) -> Path:
    import torch

    from trainer.contract.stages.cpt import ModelShape
    from trainer.policy import initialise_policy
    from trainer.tokenizer import train_tokenizer

    rows = [taught(n, service) for n in range(len(ASKED))]
    texts = [json.dumps(row) for row in rows] + [json.dumps(tool) for tool in TOOLS]
    shape = {**TINY, "hidden_size": 64, "ffn_size": 128, "heads": 4, "kv_heads": 2, "context_length": 1024}
    policy = initialise_policy(
        ModelShape(**shape),
        train_tokenizer(texts, vocab_size=600, context_length=1024),
        seed=5,
        device=torch.device("cpu"),
    )
    base, out = tmp_path_factory.mktemp("base"), tmp_path_factory.mktemp("runs") / "taught"
    policy.save(base)
    out.mkdir()
    data = {"chat@1": write_rows(tmp_path_factory.mktemp("data") / "chat.jsonl", rows * 4, "chat")}
    write_run(out, [SFT], data, recipe={"base": "tiny"}, base={"path": str(base), "sha256": hash_directory(base)})
    result = run_trainer("run", str(out), seconds=600)
    assert result.returncode == 0, result.stderr[-4000:]
    return out / f"checkpoints/step-{SFT['steps']:06d}/model"


@pytest.fixture(scope="module")
def endpoint(tmp_path_factory: pytest.TempPathFactory, checkpoint: Path) -> Iterator[Endpoint]:
    with serve_model(tmp_path_factory.mktemp("serve"), checkpoint) as served:
        yield served


def test_the_published_protocol_works_against_endpoint_and_sandbox(endpoint: Endpoint, service: str):
    with Agent(endpoint.address, service, model="tiny") as agent:
        for place in range(len(ASKED)):
            outcome = agent.answer(question(place))
            assert outcome.made == [("search_law", {"queries": [f"market {PLACES[place]}"]})]
            assert outcome.turns == 2
            assert outcome.answer == day(place)
            assert "Doc 1 (Title: Market Code" in outcome.messages[2]["content"]


def test_the_protocol_reads_a_law_and_is_told_of_one_that_is_not_there(service: str):
    with Agent("http://unused", service, model="") as agent:
        assert agent.read({"law_name": "Market Code", "section_num": "2"}).endswith(
            "The market of Ban Mai opens on day 4."
        )
        assert agent.read({"law_name": "Moon Code"}) == "Law not found"


def test_served_greedy_answers_are_those_of_the_checkpoint(endpoint: Endpoint, checkpoint: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(checkpoint)
    model = AutoModelForCausalLM.from_pretrained(checkpoint)
    messages = [{"role": "user", "content": question(1)}]
    answer = endpoint.chat(*messages, tools=TOOLS, temperature=0, return_token_ids=True)
    ids = tokenizer.apply_chat_template(messages, tools=TOOLS, add_generation_prompt=True, return_tensors="pt")[
        "input_ids"
    ]
    own = model.generate(ids, do_sample=False, max_new_tokens=200)[0, ids.shape[1] :].tolist()
    assert answer["prompt_token_ids"] == ids[0].tolist()
    assert answer["choices"][0]["token_ids"] == own
