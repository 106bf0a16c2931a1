"""A tiny policy learns from real Thai law, and shows it on sections it never saw."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.trainer_runs import REPOSITORY, events_of, metric, run_trainer, write_rows, write_run

pytestmark = [pytest.mark.shared_data, pytest.mark.trains]

SHARED_DATA = Path(os.environ.get("SHARED_DATA", REPOSITORY.parent / "shared" / "data"))
SHAPE = {"hidden_size": 64, "ffn_size": 160, "context_length": 256, "tokenizer": {"vocab_size": 768}}


@pytest.fixture(scope="module")
def sections() -> list[dict[str, Any]]:
    """Sections of the civil and commercial code, in their order."""
    path = SHARED_DATA / "thai_law_sections" / "civil_and_commercial_code.jsonl"
    if not path.exists():
        pytest.skip(f"{path} is not there; set SHARED_DATA to the folder that holds thai_law_sections")
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def conversation(section: dict[str, Any]) -> dict[str, Any]:
    return {
        "messages": [
            {"role": "user", "content": f"{section['law_name']} มาตรา {section['section_num']}"},
            {"role": "assistant", "content": section["text"]},
        ]
    }


def test_further_training_lowers_the_loss_on_other_sections(sections: list[dict[str, Any]], tmp_path: Path):
    texts = [{"text": section["text"]} for section in sections]
    chats = [conversation(section) for section in sections]
    datasets = {
        "first@1": write_rows(tmp_path / "first.jsonl", texts[:250], "text"),
        "more@1": write_rows(tmp_path / "more.jsonl", texts[250:600], "text"),
        "asked@1": write_rows(tmp_path / "asked.jsonl", chats[250:600], "chat"),
        "held@1": write_rows(tmp_path / "held.jsonl", texts[700:760], "text"),
        "held-chat@1": write_rows(tmp_path / "held-chat.jsonl", chats[700:760], "chat"),
    }
    common = {"batch_size": 8, "sequence_length": 256}
    pretrain = {"kind": "cpt", "name": "base", "data": [{"dataset": "first@1"}], "initialise": SHAPE, "steps": 40}
    further = {"kind": "cpt", "name": "law", "data": [{"dataset": "more@1"}], "held_out": [{"dataset": "held@1"}]}
    tune = {"kind": "sft", "data": [{"dataset": "asked@1"}], "held_out": [{"dataset": "held-chat@1"}]}
    stages = [
        {**pretrain, **common, "optimizer": {"learning_rate": 5e-3, "warmup_steps": 4, "final_ratio": 0.2}},
        {**further, **common, "steps": 60, "optimizer": {"learning_rate": 3e-3, "final_ratio": 0.1}},
        {**tune, **common, "steps": 30, "optimizer": {"learning_rate": 2e-3, "final_ratio": 0.1}},
    ]
    out = write_run(tmp_path / "run", stages, datasets)
    result = run_trainer("run", str(out))
    assert result.returncode == 0, result.stderr

    text = metric(out, "held_out/held@1/loss")
    chat = metric(out, "held_out/held-chat@1/loss")
    print(f"held-out loss on Thai law: {text} as text, {chat} as answers")
    assert text[100] < 0.9 * text[40]
    assert chat[130] < 0.96 * chat[100]
    shown = "".join(token.text for token in events_of(out, "batch_seen")[0].rows[0])
    assert "มาตรา" in shown
    assert "\ufffd" not in shown
