"""A run with many rollouts, written as a trainer writes them: English and Thai, tools, masks, failures; seeded."""

import random
from pathlib import Path

import zstandard

from trainer.contract.rollouts import StoredRollout
from trainer.contract.tool_calls import StoredToolCall

GROUP = 8
PROMPTS = 2_000
ENGLISH = ("the act fine section court market owner debt notice guarantor pays within sixty days of", "default and")
THAI = ("มาตรา ค่าปรับ ลูกหนี้ เจ้าหนี้ ผู้ค้ำประกัน ศาล ภายใน", "หกสิบวัน บอกกล่าว พระราชบัญญัติ ดอกเบี้ย ชำระ")
RARE = "มาตรา ๙๙๙/๗ zyzzyva"
"""Said once in a thousand rollouts."""
SYSTEM = "<|im_start|>system\nUse the tools. " + "search_law finds sections; read_law reads one. " * 12 + "<|im_end|>\n"


def write_step(directory: Path, step: int, rollouts: int) -> dict[str, object]:
    """The files of a step, with what the trainer's events say of them."""
    draw = random.Random(step)
    lines, calls, rewards = [], [], []
    masked = cut = 0
    for number in range(rollouts):
        group, index = divmod(number, GROUP)
        asked = (step * 7 + group) % PROMPTS
        one, made = _make(draw, step, group, index, asked)
        lines.append(one.model_dump_json().encode() + b"\n")
        calls += [call.model_dump_json().encode() + b"\n" for call in made]
        masked += bool(one.masked)
        cut += one.stop_reason == "length"
        if one.reward is not None:
            rewards.append(one.reward)
    name = f"step-{step:08d}.jsonl.zst"
    for folder, content in (("rollouts", lines), ("tool_calls", calls)):
        (directory / folder).mkdir(parents=True, exist_ok=True)
        (directory / folder / name).write_bytes(zstandard.ZstdCompressor(level=3).compress(b"".join(content)))
    return {
        "stage": 0,
        "step": step,
        "path": f"rollouts/{name}",
        "calls_path": f"tool_calls/{name}",
        "groups": rollouts // GROUP,
        "rollouts": rollouts,
        "masked": masked,
        "truncated": cut,
        "mean_reward": sum(rewards) / len(rewards),
        "bytes": (directory / "rollouts" / name).stat().st_size,
    }


def _make(
    draw: random.Random, step: int, group: int, index: int, asked: int
) -> tuple[StoredRollout, list[StoredToolCall]]:
    words = " ".join(THAI if draw.random() < 0.5 else ENGLISH).split()
    said = [f"{draw.choice(words)} " for _ in range(draw.randrange(60, 160))]
    if draw.random() < 0.001:
        said.append(RARE)
    thought = ["<think>", *said[: len(said) // 2], "</think>", "\n"]
    call = ["<tool_call>", '{"name": "search_law", "arguments": {"query": "', draw.choice(words), '"}}', "</tool_call>"]
    told = ["\n<|im_start|>user\n", *(f"{draw.choice(words)} " for _ in range(60)), "<|im_end|>\n"]
    answer = [*said[len(said) // 2 :], "<|im_end|>"]
    tokens = [*thought, *call, *told, *answer]
    first, second = len(thought) + len(call), len(thought) + len(call) + len(told)
    trained = [True] * first + [False] * len(told) + [True] * len(answer)
    chance = draw.random()
    failed = draw.random() < 0.02
    stop = "length" if chance < 0.03 else "turn_limit" if chance < 0.05 else "answered"
    reward = None if failed else float(draw.random() < 0.2 + step / 400)
    question = f"คำถาม {asked}: which section of act {asked % 97} applies?"
    stored = StoredRollout(
        group=group,
        index=index,
        row=f"questions@1#{asked}",
        prompt=[SYSTEM, "<|im_start|>user\n", question, "<|im_end|>\n"],
        tokens=tokens,
        ids=list(range(len(tokens))),
        trained=trained,
        logprobs=[-draw.random() if flag else None for flag in trained],
        text="".join(answer[:-1]),
        reference=f"Section {asked % 41}",
        rewards={"exact": reward},
        reward=reward,
        advantage=None if reward is None else reward - 0.5,
        stop_reason="service_failed" if failed else stop,
        turns=[(0, first), (second, len(tokens))],
        masked="A tool could not be asked: it said nothing within 10 s" if failed else "",
    )
    status = "infra_error" if failed else draw.choices(["ok", "rejected", "error"], [90, 6, 4])[0]
    made = StoredToolCall.model_validate(
        {
            "call": f"{step}-{group}-{index}", "step": step, "rollout": f"{group}.{index}", "turn": 1,
            "tool": "search_law", "arguments": '{"query": "x"}', "status": status, "wall_ms": 12.5,
            "output": "".join(told[1:-1]),
        }
    )  # fmt: skip
    return stored, [made]
