"""The memory plan: what it counts, worked out by hand and counted again on what autograd keeps; who refuses by it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM, Qwen3Config, Qwen3ForCausalLM

from tests.rollout_runs import GRPO, write_base, write_rollout_run
from tests.trainer_runs import TINY, events_of, run_here
from trainer.contract.dimensions import Dimensions, dimensions_of, read_dimensions
from trainer.contract.events import MemoryMeasured, MemoryPlanned
from trainer.contract.fitting import Room, fit_stage
from trainer.contract.memory import (
    CACHE_BYTES_CPU,
    FEWEST_ROWS,
    LOGITS_AT_ONCE,
    PROMPT_TOKENS,
    VLLM_CACHE_BYTES_CPU,
    VLLM_LIBRARIES,
    Setting,
    plan_memory,
)
from trainer.contract.stages.cpt import CptStage, ModelShape
from trainer.contract.stages.dpo import DpoStage
from trainer.contract.stages.grpo import GrpoStage
from trainer.contract.stages.online_dpo import OnlineDpoStage
from trainer.contract.stages.opd import OpdStage
from trainer.contract.vllm import VllmSettings
from trainer.data.batch import flatten
from trainer.losses import head
from trainer.memory import policy_dimensions
from trainer.policy import Policy
from trainer.sampling import torch_engine, vllm_colocated
from trainer.spec_file import read_spec
from trainer.telling import describe

QWEN = {
    "model_type": "qwen3",
    "hidden_size": 8,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 4,
    "num_hidden_layers": 2,
    "intermediate_size": 24,
    "vocab_size": 100,
    "tie_word_embeddings": True,
}
POLICY = read_dimensions(QWEN, 10_000)
assert POLICY is not None
TEACHER = read_dimensions({**QWEN, "hidden_size": 16, "tie_word_embeddings": False}, 50_000)
assert TEACHER is not None
DATA = [{"dataset": "some@1"}]
CPU = Setting(gpu=False, half=False, swap=False)
SWAPPING = Setting(gpu=False, half=False, swap=True)


def opd(**fields: Any) -> OpdStage:
    settings = {"teacher": "large", "data": DATA, "steps": 1, "batch_size": 8, "sequence_length": 64, **fields}
    return OpdStage.model_validate({"sampling": {"max_new_tokens": 16}, **settings})


def test_weights_gradients_and_moments_are_four_four_and_eight_bytes_a_parameter():
    stage = CptStage.model_validate({"data": DATA, "steps": 1, "batch_size": 4, "sequence_length": 64})
    plan = plan_memory(stage, POLICY, {}, CPU)
    assert list(plan.phases) == ["student", "update", "save"]
    assert plan.phases["update"] == {"weights": 40_000, "gradients": 40_000, "moments": 80_000}
    assert plan.phases["save"] == {"weights": 40_000, "moments": 80_000}
    assert plan.parked == {}
    assert plan.peak == plan.needed("student") > 160_000


def test_an_adapter_has_small_gradients_and_moments():
    fields = {"data": DATA, "steps": 1, "lora": {"rank": 2, "targets": ["q_proj", "down_proj"]}}
    plan = plan_memory(CptStage.model_validate(fields), POLICY, {}, CPU)
    trained = 2 * 2 * ((8 + 16) + (24 + 8))  # layers · rank · (inputs + outputs) of both maps
    assert plan.phases["update"] == {
        "weights": 4 * (10_000 + trained),
        "gradients": 4 * trained,
        "moments": 8 * trained,
    }


def test_ranks_share_what_is_cut_over_them():
    stage = CptStage.model_validate({"data": DATA, "steps": 1, "batch_size": 4, "sequence_length": 64})
    whole = plan_memory(stage, POLICY, {}, Setting(gpu=False, half=False, swap=False, ranks=4))
    cut = plan_memory(stage, POLICY, {}, Setting(gpu=False, half=False, swap=False, ranks=4, sharded=True))
    assert whole.phases["update"]["moments"] == 80_000
    assert cut.phases["update"] == {"weights": 10_000, "gradients": 10_000, "moments": 20_000}
    assert cut.phases["student"]["gathered weights"] == 80_000
    assert whole.phases["student"]["activations"] < plan_memory(stage, POLICY, {}, CPU).phases["student"]["activations"]


def test_a_teacher_is_there_always_or_in_its_phase_alone():
    others = {"large": TEACHER}
    off, on = plan_memory(opd(), POLICY, others, CPU), plan_memory(opd(), POLICY, others, SWAPPING)
    assert {phase: parts["teacher"] for phase, parts in off.phases.items()} == dict.fromkeys(off.phases, 200_000)
    assert {phase: parts.get("teacher", 0) for phase, parts in on.phases.items()} == {
        "rollout": 0,
        "teacher": 200_000,
        "student": 4 * 100 * 16,  # its head, which the loss multiplies by
        "update": 0,
        "save": 0,
    }
    assert "weights" not in on.phases["teacher"]
    assert on.parked == {"weights": 40_000, "moments": 80_000, "teacher": 200_000}
    assert [phase for phase, parts in on.phases.items() if "moments" in parts] == ["update", "save"]
    assert [phase for phase, parts in on.phases.items() if "sampler" in parts] == ["rollout"]
    # 8 completions of up to 63 answer tokens, 16 numbers each
    assert off.phases["student"]["teacher's states"] == 8 * 64 * 16 * 4
    sampled = opd(estimator="sampled", beta=1, on_policy=1, sampling={"max_new_tokens": 16})
    assert "teacher's states" not in plan_memory(sampled, POLICY, others, SWAPPING).phases["student"]


@pytest.mark.parametrize(
    ("stage", "with_reference"),
    [
        (GrpoStage.model_validate({**GRPO, "kl_weight": 0.1}), {"teacher", "save"}),
        (GrpoStage.model_validate(GRPO), set()),
        (DpoStage.model_validate({"data": DATA, "steps": 1}), {"student", "save"}),
        (OnlineDpoStage.model_validate({**GRPO, "kind": "online_dpo"}), {"student", "save"}),
    ],
)
def test_a_reference_is_where_it_is_read_and_saved(stage: Any, with_reference: set[str]):
    plan = plan_memory(stage, POLICY, {}, SWAPPING)
    assert {phase for phase, parts in plan.phases.items() if "reference" in parts} == with_reference


def test_keys_and_values_are_those_of_the_rows_in_work():
    plan = plan_memory(GrpoStage.model_validate(GRPO), POLICY, {}, CPU)
    # 8 rows of 96 tokens; keys and values of 2 layers with 2 heads of 4 units, 4 bytes each
    assert plan.phases["rollout"]["keys and values"] == 8 * 96 * 2 * 2 * 2 * 4 * 4
    many = GrpoStage.model_validate({**GRPO, "batch_size": 4096})
    assert plan_memory(many, POLICY, {}, CPU).phases["rollout"]["keys and values"] == 128 * 96 * 2 * 2 * 2 * 4 * 4


def test_vllm_in_the_same_process_has_weights_keys_and_values_of_its_own():
    """10,000 parameters. On a CPU it cannot sleep; on a GPU it takes its share of the device while it samples."""
    stage = GrpoStage.model_validate({**GRPO, "sampler": "vllm"})
    plan = plan_memory(stage, POLICY, {}, CPU)
    taken = 40_000 + (1 << 30) + VLLM_LIBRARIES
    assert {phase: parts["vLLM"] for phase, parts in plan.phases.items()} == dict.fromkeys(plan.phases, taken)
    assert not {"sampler", "keys and values", "sampling"} & plan.phases["rollout"].keys()
    gpu = Setting(gpu=True, half=True, swap=False, capacity=9_000_000, device=10_000_000)
    plan = plan_memory(stage, POLICY, {}, gpu)
    assert [phase for phase, parts in plan.phases.items() if "vLLM" in parts] == ["rollout"]
    assert plan.phases["rollout"]["vLLM"] == 4_000_000
    assert plan.parked == {}
    lightly = plan_memory(stage, POLICY, {}, replace(gpu, vllm=VllmSettings(sleep_level=1, memory_share=0.5)))
    assert lightly.phases["rollout"]["vLLM"] == 5_000_000
    assert lightly.parked == {"vLLM": 20_000}
    awake = plan_memory(stage, POLICY, {}, replace(gpu, vllm=VllmSettings(sleep_level=0)))
    assert all(parts["vLLM"] == 4_000_000 for parts in awake.phases.values())
    served = plan_memory(stage, POLICY, {}, replace(gpu, vllm=VllmSettings(server="http://127.0.0.1:8001")))
    assert all("vLLM" not in parts for parts in served.phases.values())


def test_the_plan_counts_with_the_limits_that_the_code_has():
    assert vllm_colocated.CPU_CACHE_BYTES == VLLM_CACHE_BYTES_CPU
    assert torch_engine.CPU_CACHE_BYTES == CACHE_BYTES_CPU
    assert torch_engine.PROMPT_TOKENS == PROMPT_TOKENS
    assert LOGITS_AT_ONCE == {False: head.LOGITS_AT_ONCE_CPU, True: head.LOGITS_AT_ONCE_GPU}
    assert head.FEWEST_ROWS == FEWEST_ROWS


def kept_by_autograd(model: Any, *, tokens: int, precision: Any, checkpointing: bool) -> int:
    """Bytes of all tensors that a forward pass keeps, weights and their copies in half precision apart."""
    policy = Policy(model, None, precision)
    policy.train_on_documents()
    if checkpointing:
        model.gradient_checkpointing_enable({"use_reentrant": False})
    draw = np.random.default_rng(0)
    length = tokens // 4
    documents = [(draw.integers(320, size=length, dtype=np.int32), np.ones(length, dtype=np.bool_)) for _ in range(4)]
    kept: dict[int, tuple[int, torch.Tensor]] = {}
    sizes = {weight.numel() for weight in model.parameters()}
    weights = {weight.untyped_storage().data_ptr() for weight in model.parameters()}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        copied = tensor.dtype == torch.bfloat16 and tensor.numel() in sizes
        if storage.data_ptr() not in weights and not copied:
            kept[storage.data_ptr()] = (storage.nbytes(), tensor)
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        policy.hidden(flatten(documents, device=torch.device("cpu")))
    return sum(size for size, _ in kept.values())


@pytest.mark.parametrize("checkpointing", [False, True], ids=["all kept", "checkpointed"])
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize(
    ("model_class", "config_class"), [(Qwen3ForCausalLM, Qwen3Config), (LlamaForCausalLM, LlamaConfig)]
)
def test_what_a_layer_keeps_is_what_autograd_keeps(
    model_class: Any, config_class: Any, precision: str, checkpointing: bool
):
    tokens, found, planned = 404, [], []
    for layers in (1, 3):
        config = config_class(
            vocab_size=320,
            hidden_size=48,
            intermediate_size=112,
            num_hidden_layers=layers,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=16,
            max_position_embeddings=512,
        )
        model = model_class(config)
        found.append(kept_by_autograd(model, tokens=tokens, precision=precision, checkpointing=checkpointing))
        size = read_dimensions(config.to_dict(), sum(weight.numel() for weight in model.parameters()))
        assert size is not None
        stage = CptStage.model_validate(
            {
                "data": DATA,
                "steps": 1,
                "batch_size": 1,
                "sequence_length": tokens,
                "compute": {"gradient_checkpointing": checkpointing},
            }
        )
        plan = plan_memory(stage, size, {}, Setting(gpu=False, half=precision == "bf16", swap=False))
        planned.append(plan.phases["student"]["activations"])
    assert found[1] - found[0] > 0
    assert planned[1] - planned[0] == pytest.approx(found[1] - found[0], rel=0.02)
    assert planned[0] > found[0]  # which counts nothing of the backward pass


def test_an_initialised_policy_has_the_parameters_that_the_plan_counts(tmp_path: Path):
    base = write_base(tmp_path / "base")
    spec = read_spec(write_rollout_run(tmp_path / "run", [GRPO], base))
    read, worked_out = policy_dimensions(spec, base), dimensions_of(ModelShape.model_validate(TINY))
    assert isinstance(read, Dimensions)
    assert read == worked_out


def test_a_config_that_does_not_say_its_sizes_gives_no_plan():
    assert read_dimensions({"model_type": "mamba"}, 5) is None


def test_what_does_not_fit_is_refused_with_numbers_and_a_setting_that_does():
    others = {"large": TEACHER}
    stage = opd(sequence_length=32)
    needed = plan_memory(stage, POLICY, others, CPU).peak
    fits = fit_stage(stage, POLICY, others, CPU, Room("this machine", needed))
    assert (fits.problem, fits.swap) == ("", False)
    swapped = plan_memory(stage, POLICY, others, SWAPPING).peak
    short = fit_stage(stage, POLICY, others, CPU, Room("this machine", swapped)).problem
    assert f"takes up to {needed / 1e9:.3f} GB and this machine has {swapped / 1e9:.3f} GB" in short
    assert "teacher 0.000" in short
    assert f"it would fit with swap: on ({swapped / 1e9:.3f} GB)." in short
    hopeless = fit_stage(stage, POLICY, others, CPU, Room("this machine", 10_000)).problem
    assert hopeless.endswith("shorten sequence_length, train fewer weights or a smaller model.")


def test_auto_swaps_on_a_gpu_where_nothing_else_helps():
    gpu = Setting(gpu=True, half=True, swap=False)
    others = {"large": TEACHER}
    wide = fit_stage(opd(), POLICY, others, gpu, Room("the GPU", 1 << 40))
    assert not wide.swap
    narrow = fit_stage(opd(), POLICY, others, gpu, Room("the GPU", wide.plan.peak - 1))
    assert narrow.swap
    assert narrow.problem == ""
    assert narrow.plan.peak < wide.plan.peak
    never = opd(compute={"swap": "off"})
    assert (
        "it would fit with swap: on"
        in fit_stage(never, POLICY, others, gpu, Room("the GPU", wide.plan.peak - 1)).problem
    )
    full = fit_stage(opd(), POLICY, others, gpu, Room("the GPU", wide.plan.peak - 1, "the CPU's memory", 1000))
    assert full.problem.startswith("swapping keeps up to 0.000 GB in the CPU's memory, where 0.000 GB are left")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


def test_the_trainer_refuses_before_anything_is_loaded(
    base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr("trainer.memory.machine_memory", lambda: 1_000_000)
    out = write_rollout_run(tmp_path, [GRPO, {**GRPO, "kl_weight": 0.1}], base)
    assert run_here(out) == 2
    [first, second] = capsys.readouterr().err.strip().splitlines()
    assert first.startswith("recipe.stages[0].compute: this stage takes up to ")
    assert second.startswith("recipe.stages[1].compute: this stage takes up to ")
    assert "this machine has 0.001 GB" in first
    assert [line.type for line in map(_event, (out / "events.jsonl").read_text().splitlines())] == ["attempt_failed"]


def _event(line: str) -> Any:
    from trainer.contract import parse_event

    return parse_event(line).event


def test_the_plan_is_told_before_the_first_step_and_checked_after_the_second(
    base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out = write_rollout_run(tmp_path, [{**GRPO, "steps": 3}, {**GRPO, "steps": 1}], base)
    assert run_here(out) == 0
    told = [json.loads(line)["event"] for line in (out / "events.jsonl").read_text().splitlines()]
    order = [(event["type"], event.get("step")) for event in told if event["type"].startswith(("memory", "metrics"))]
    assert order == [
        ("memory_planned", None),
        ("metrics_logged", 1),
        ("memory_measured", 2),
        ("metrics_logged", 2),
        ("metrics_logged", 3),
        ("memory_planned", None),
        ("memory_measured", 4),
        ("metrics_logged", 4),
    ]
    for event in events_of(out, "memory_planned"):
        assert event.peak == max(sum(parts.values()) for parts in event.phases.values())
    assert "memory of a process: at most" in capsys.readouterr().out


def test_plan_and_measurement_are_said_in_a_line_each():
    phases = {"student": {"weights": 2_000_000_000, "activations": 500_000_000}, "update": {"weights": 2_000_000_000}}
    planned = MemoryPlanned(
        stage=0,
        swap=True,
        peak=2_500_000_000,
        room=8_000_000_000,
        where="the GPU",
        phases=phases,
        parked={"moments": 4e9},
    )
    assert describe(planned) == (
        "memory of a process: at most 2.50 GB of the 8.00 GB of the GPU (student 2.50, update 2.00); in student: "
        "weights 2.00, activations 0.50; kept elsewhere meanwhile: moments 4.00"
    )
    sizes = {"stage": 0, "step": 2, "planned": 2_500_000_000}
    within = MemoryMeasured(**sizes, measured=2_400_000_000, before=1_000_000_000)
    assert describe(within) == "memory after the stage's first steps: 2.40 GB, within the 2.50 GB planned"
    beyond = MemoryMeasured(**sizes, measured=2_600_000_000, before=1_000_000_000)
    assert describe(beyond) == "memory after the stage's first steps: 2.60 GB, MORE THAN the 2.50 GB planned"
    unseen = MemoryMeasured(**sizes, measured=2_400_000_000, before=2_400_000_000)
    assert "no more than the 2.40 GB taken before it began" in describe(unseen)
