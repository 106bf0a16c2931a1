"""Swapping: a run with it is the run without, bit for bit; what a phase does not need is away."""

import errno
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.rollout_runs import GRPO, INK, open_stage, write_base, write_rollout_run
from tests.trainer_runs import TINY, events_of, law_texts, metric, run_here, write_rows
from trainer.contract.hashing import hash_directory, hash_file, list_files
from trainer.contract.stages.cpt import ModelShape
from trainer.failures import RunFailed
from trainer.policy import initialise_policy
from trainer.stage import StageWork
from trainer.swap import DiskFile, PinnedMemory, Placement
from trainer.tokenizer import train_tokenizer

pytestmark = pytest.mark.trains

STEPS = {"steps": 4, "checkpoint_every": 2, "measure_every": 2}
PREFERENCES = [
    {
        "messages": [{"role": "user", "content": f"When does market {n} open?"}],
        "chosen": f"On day {n}.",
        "rejected": "Never.",
    }
    for n in range(8)
]
STAGES: dict[str, dict[str, Any]] = {
    "reference": {**GRPO, **STEPS, "kl_weight": 0.1, "held_out": [{"dataset": "others@1"}]},
    "two updates a round": {**INK, **STEPS, "kl_weight": 0.1, "updates_per_rollout": 2},
    "adapters": {**GRPO, **STEPS, "kl_weight": 0.1, "lora": {"rank": 4}},
    "teacher": {
        **{key: value for key, value in GRPO.items() if key not in ("rewards", "kind")},
        **STEPS,
        "kind": "opd",
        "teacher": "teacher",
        "on_policy": 0.5,
        "cross_entropy_weight": 0.1,
        "held_out": [{"dataset": "others@1"}],
    },
    "sampled teacher": {
        **{key: value for key, value in GRPO.items() if key not in ("rewards", "kind")},
        **STEPS,
        "kind": "opd",
        "teacher": "teacher",
        "on_policy": 1.0,
        "beta": 1.0,
        "estimator": "sampled",
    },
    "pairs": {
        "kind": "dpo",
        "data": [{"dataset": "pairs@1"}],
        **STEPS,
        "batch_size": 2,
        "sequence_length": 96,
        "optimizer": GRPO["optimizer"],
    },
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_base(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def teacher(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    directory = tmp_path_factory.mktemp("teacher")
    tokenizer = train_tokenizer(law_texts(60), vocab_size=320, context_length=128)
    shape = ModelShape(**{**TINY, "hidden_size": 48, "linear_std": 0.1})
    initialise_policy(shape, tokenizer, seed=2, device=torch.device("cpu")).save(directory)
    return {"path": str(directory), "sha256": hash_directory(directory)}


def write_swapping(out: Path, stage: dict[str, Any], base: Path, teacher: Any, *, swap: str, **fields: Any) -> Path:
    out.mkdir(parents=True)
    arranged = {**stage, "compute": {"swap": swap}}
    if stage["kind"] == "dpo":
        fields["datasets"] = {"pairs@1": write_rows(out / "pairs.jsonl", PREFERENCES, "preferences")}
    return write_rollout_run(out, [arranged], base, models={"teacher": teacher}, **fields)


def assert_same_end(one: Path, other: Path) -> None:
    last = events_of(one, "checkpoint_saved")[-1].path
    names = [name for name in list_files(one / last) if name != "state/state.json"]  # names the recipe
    assert "state/tensors.safetensors" in names
    for name in names:
        if name != "manifest.json":
            assert hash_file(one / last / name) == hash_file(other / last / name), name


@pytest.mark.parametrize("name", STAGES)
def test_a_run_that_swaps_is_the_run_that_does_not(name: str, base: Path, teacher: Any, tmp_path: Path):
    plain = write_swapping(tmp_path / "plain", STAGES[name], base, teacher, swap="off")
    swapping = write_swapping(tmp_path / "swapping", STAGES[name], base, teacher, swap="on")
    assert run_here(plain) == 0
    assert run_here(swapping) == 0
    resumed = write_swapping(
        tmp_path / "resumed",
        STAGES[name],
        base,
        teacher,
        swap="on",
        resume_from=str(swapping / "checkpoints/step-000002"),
        attempt=2,
    )
    assert run_here(resumed) == 0
    for out in (swapping, resumed):
        assert_same_end(plain, out)
    keys = {key for event in events_of(plain, "metrics_logged") for key in event.values}
    assert len(keys) > 5
    for key in sorted(key for key in keys if not key.startswith("system/")):
        assert metric(swapping, key) == metric(plain, key), key
        assert metric(resumed, key) == {step: value for step, value in metric(plain, key).items() if step > 2}, key
    assert [event.swap for event in events_of(swapping, "memory_planned")] == [True]
    assert [event.swap for event in events_of(plain, "memory_planned")] == [False]


def test_memory_of_the_cpu_keeps_it_as_well_as_a_file(
    base: Path, teacher: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    plain = write_swapping(tmp_path / "plain", STAGES["teacher"], base, teacher, swap="off")
    assert run_here(plain) == 0
    monkeypatch.setattr("trainer.stage.DiskFile", lambda directory: PinnedMemory())
    swapping = write_swapping(tmp_path / "swapping", STAGES["teacher"], base, teacher, swap="on")
    assert run_here(swapping) == 0
    assert_same_end(plain, swapping)
    assert metric(swapping, "train/loss") == metric(plain, "train/loss")


def away(work: StageWork) -> set[str]:
    """Names of what is not where it could be computed with."""
    return {holding.name for holding in work.placement._holdings if holding.away is not None}


def open_swapping(out: Path, name: str, base: Path, teacher: Any) -> StageWork:
    from tests.trainer_runs import open_here

    session = open_here(write_swapping(out, STAGES[name], base, teacher, swap="on"))
    return StageWork(session, 0, session.spec.recipe.stages[0])  # type: ignore[arg-type]


def test_every_phase_has_what_it_needs_and_nothing_else(base: Path, teacher: Any, tmp_path: Path):
    work = open_swapping(tmp_path / "run", "teacher", base, teacher)
    weights = work.algorithm.engine._weights  # type: ignore[attr-defined]
    assert away(work) == {"teacher", "teacher's head"}  # it made room for the sampler
    assert not weights.dropped
    work.optimize(work.collect()[0])
    assert away(work) == {"teacher", "teacher's head"}
    assert weights.dropped
    [update] = work.collect()
    assert away(work) == {"moments", "weights", "weights's head"}  # the teacher has read, the student has not
    assert all(weight.grad is None for weight in work.policy.model.parameters())
    for weight in work.policy.model.parameters():
        assert weight.isnan().all()
        assert weight.untyped_storage().nbytes() == 4
    work.placement.enter("student")
    assert away(work) == {"moments", "teacher"}
    assert not any(weight.isnan().any() for weight in work.policy.model.parameters())
    work.optimize(update)
    assert away(work) == {"teacher", "teacher's head"}
    work.save(finished=True)
    assert away(work) == set()
    assert work.policy.fetch is None


def test_a_model_that_is_asked_out_of_its_phase_comes_back(base: Path, teacher: Any, tmp_path: Path):
    work = open_swapping(tmp_path / "run", "reference", base, teacher)
    batch = work.collect()[0].micro_batches[0]
    assert "weights" in away(work)
    assert work.policy.logprobs(batch).isfinite().all()  # type: ignore[arg-type]
    assert "weights" not in away(work)
    work.placement.enter("teacher")
    assert "weights" in away(work)


def test_swapping_is_told_of_and_off_by_default_on_a_cpu(base: Path, tmp_path: Path):
    work = open_stage(tmp_path / "run", {**GRPO, "kl_weight": 0.1}, base)
    assert not work.placement.swaps
    assert events_of(tmp_path / "run", "stage_started")[0].notes["swap"] is False


@pytest.mark.parametrize("make", [PinnedMemory, None], ids=["memory", "disk"])
def test_what_is_put_away_comes_back_bit_for_bit(make: Any, tmp_path: Path):
    shelf = make() if make else DiskFile(tmp_path)
    values = [
        torch.tensor([[1.0, -0.0], [float("nan"), 1e-42]]),
        torch.randn(5, 3).to(torch.bfloat16),
        torch.arange(7, dtype=torch.float64),
        torch.randn(4, 6).t(),
    ]
    shelf.put([torch.zeros_like(value) for value in values])
    shelf.put(values)
    for _ in range(2):
        for back, value in zip(shelf.take(values), values, strict=True):
            assert back.dtype == value.dtype
            assert back.contiguous().view(torch.uint8).equal(value.contiguous().view(torch.uint8))
            assert back.data_ptr() != value.data_ptr()


def test_files_leave_nothing_behind(tmp_path: Path):
    shelf = DiskFile(tmp_path)
    shelf.put([torch.ones(1000)])
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_is_said_with_the_way_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    def refuse(**named: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(RunFailed, match=r"No space left on device\); free space there or set compute.swap to off"):
        DiskFile(tmp_path).put([torch.ones(3)])


def test_frozen_weights_are_written_once(tmp_path: Path):
    class Counting(DiskFile):
        written = 0

        def put(self, values: Any) -> None:
            super().put(values)
            self.written += 1

    shelves: list[Counting] = []

    def make() -> Counting:
        shelves.append(Counting(tmp_path))
        return shelves[-1]

    placement = Placement(make)
    frozen, moving = torch.arange(4.0), torch.arange(4.0)
    placement.hold("frozen", lambda: [frozen], phases=("teacher",), changes=False)
    placement.hold("moving", lambda: [moving], phases=("teacher",), changes=True)
    for _ in range(3):
        placement.enter("teacher")
        moving += 1
        placement.enter("student")
        assert frozen.isnan().all()
        assert moving.isnan().all()
    placement.enter("teacher")
    assert [shelf.written for shelf in shelves] == [1, 3]
    assert frozen.tolist() == [0, 1, 2, 3]
    assert moving.tolist() == [3, 4, 5, 6]
