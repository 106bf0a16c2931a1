"""A student drawn towards a teacher: what is compared, on whose tokens, and that nothing else changes it."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
import zstandard
from pydantic import ValidationError

from tests.trainer_runs import TINY, events_of, metric, open_here, run_here, text_rows, write_rows, write_run
from trainer.algorithms.opd import Opd
from trainer.contract import ModelFile
from trainer.contract.hashing import hash_directory
from trainer.contract.rollouts import StoredRollout
from trainer.contract.stages.cpt import ModelShape
from trainer.contract.stages.opd import OpdStage
from trainer.distillation import DistilBatch
from trainer.losses import IGNORED
from trainer.policy import initialise_policy
from trainer.rollouts.rollout import Rollout
from trainer.stage import StageWork
from trainer.tokenizer import train_tokenizer

CPU = torch.device("cpu")
TEXTS = [row["text"] for row in text_rows(40)] + [f"When does market {n} open? On day {n}." for n in range(28)]


def question_rows(count: int, *, start: int = 0) -> list[dict[str, Any]]:
    return [
        {"question": f"When does market {n} open?", "answer": f"On day {n % 28 + 1}." + " It closes at dusk." * (n % 3)}
        for n in range(start, start + count)
    ]


TOOLS = [{"type": "function", "function": {"name": "find_law", "parameters": {"type": "object", "properties": {}}}}]
WITH_TOOLS = (
    "{% for tool in tools or [] %}{{ tool.function.name }}\n{% endfor %}"
    "{% for message in messages %}{{ '<|im_start|>' + message.role + '\\n' + message.content + '<|im_end|>\\n' }}"
    "{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}"
)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A student, a larger teacher whose head is padded, and their data."""
    folder = tmp_path_factory.mktemp("world")
    tokenizer = train_tokenizer(TEXTS, vocab_size=320, context_length=128)
    student = initialise_policy(ModelShape(**TINY), tokenizer, seed=1, device=CPU)
    teacher = initialise_policy(
        ModelShape(**{**TINY, "hidden_size": 48, "linear_std": 0.1}), tokenizer, seed=2, device=CPU
    )
    teacher.model.resize_token_embeddings(len(tokenizer) + 24)
    with torch.no_grad():  # padding that would win every comparison if it counted
        teacher.model.get_input_embeddings().weight[len(tokenizer) :] = 1.0
    models = {}
    for name, policy in (("student", student), ("teacher", teacher)):
        policy.save(folder / name)
        models[name] = {"path": str(folder / name), "sha256": hash_directory(folder / name)}
    chats = [
        {
            "messages": [{"role": "user", "content": row["question"]}, {"role": "assistant", "content": row["answer"]}],
            "tools": TOOLS,
        }
        for row in question_rows(6)
    ]
    return {
        "folder": folder,
        "models": models,
        "datasets": {
            "asked@1": write_rows(folder / "asked.jsonl", question_rows(24), "prompts"),
            "held@1": write_rows(folder / "held.jsonl", question_rows(6, start=100), "prompts"),
            "chats@1": write_rows(folder / "chats.jsonl", chats, "chat"),
        },
    }


def write_opd(out: Path, world: dict[str, Any], teacher: str = "teacher", **settings: Any) -> Path:
    stage = {
        "kind": "opd",
        "teacher": "teacher",
        "data": [{"dataset": "asked@1"}],
        "steps": 4,
        "batch_size": 8,
        "sequence_length": 96,
        "sampling": {"max_new_tokens": 12},
        "optimizer": {"learning_rate": 3e-3, "clip_norm": 1e9},
        **settings,
    }
    models = world["models"]
    return write_run(
        out,
        [stage],
        world["datasets"],
        recipe={"base": "student"},
        base=models["student"],
        models={"teacher": models[teacher]},
    )


def open_opd(out: Path, world: dict[str, Any], **settings: Any) -> tuple[StageWork, Opd]:
    session = open_here(write_opd(out, world, **settings))
    work = StageWork(session, 0, session.spec.recipe.stages[0])
    algorithm = work.algorithm
    assert isinstance(algorithm, Opd)
    return work, algorithm


def plain_distributions(algorithm: Opd, batch: DistilBatch, *, temperature: float = 1.0) -> tuple[torch.Tensor, ...]:
    """Log-probabilities of teacher and student over the real vocabulary at the targets, by the models' own heads."""
    target_N = batch.labels_N != IGNORED
    size = len(algorithm.context.policy.tokenizer)
    found = []
    for policy in (algorithm.teacher.policy, algorithm.context.policy):
        logits = policy.hidden(batch)[target_N] @ policy.model.get_output_embeddings().weight.T
        found.append((logits[:, :size] / temperature).log_softmax(-1))
    return tuple(found)


def kl(p: torch.Tensor, q: torch.Tensor) -> torch.Tensor:
    return (p.exp() * (p - q)).sum(-1)


def first_batch(algorithm: Opd) -> DistilBatch:
    [update] = algorithm.collect(1)
    [batch] = update.micro_batches
    assert isinstance(batch, DistilBatch)
    return batch


@pytest.mark.parametrize("on_policy", [0.0, 1.0])
@pytest.mark.parametrize("beta", [0.0, 0.4, 1.0])
def test_each_beta_is_the_divergence_it_says(world: dict[str, Any], tmp_path: Path, beta: float, on_policy: float):
    _, algorithm = open_opd(tmp_path, world, beta=beta, temperature=1.3, on_policy=on_policy)
    batch = first_batch(algorithm)
    assert batch.on_policy == bool(on_policy)
    teacher, student = plain_distributions(algorithm, batch, temperature=1.3)
    middle = torch.logsumexp(
        torch.stack([teacher + torch.tensor(beta).log(), student + torch.tensor(1 - beta).log()]), dim=0
    )
    expected = {0.0: kl(teacher, student), 1.0: kl(student, teacher)}.get(
        beta, beta * kl(teacher, middle) + (1 - beta) * kl(student, middle)
    )
    terms = algorithm.loss(batch, algorithm.context.policy, targets=batch.targets)
    assert expected.mean() > 0.01  # or the comparison shows nothing
    assert terms.total.item() == pytest.approx(expected.mean().item(), rel=1e-4)
    weights = list(algorithm.context.policy.model.parameters())
    wanted = torch.autograd.grad(expected.mean(), weights)
    for ours, theirs in zip(torch.autograd.grad(terms.total, weights), wanted, strict=True):
        assert (ours - theirs).norm() <= 1e-4 * max(theirs.norm().item(), 1e-4)
    place = "on" if on_policy else "off"
    assert terms.reported[f"distil/divergence_{place}_policy"] == (
        pytest.approx(expected.sum().item(), rel=1e-4),
        batch.targets,
    )


def test_the_teachers_top_k_is_renormalised_and_all_of_it_is_everything(world: dict[str, Any], tmp_path: Path):
    _, algorithm = open_opd(tmp_path, world, on_policy=0.0, beta=0.0)
    batch, policy = first_batch(algorithm), algorithm.context.policy
    full = algorithm.loss(batch, policy, targets=batch.targets).total.item()
    algorithm.stage = algorithm.stage.model_copy(update={"top_k": len(policy.tokenizer)})
    assert algorithm.loss(batch, policy, targets=batch.targets).total.item() == pytest.approx(full, rel=1e-5)
    algorithm.stage = algorithm.stage.model_copy(update={"top_k": 3})
    teacher, student = plain_distributions(algorithm, batch)
    chosen = teacher.topk(3).indices
    within = [one.gather(1, chosen).log_softmax(-1) for one in (teacher, student)]
    expected = kl(*within).mean().item()
    assert expected != pytest.approx(full, rel=1e-3)
    assert algorithm.loss(batch, policy, targets=batch.targets).total.item() == pytest.approx(expected, rel=1e-4)


def test_only_completions_are_compared_and_the_prompt_is_what_was_sampled_after(world: dict[str, Any], tmp_path: Path):
    _, algorithm = open_opd(tmp_path, world, on_policy=1.0)
    batch = first_batch(algorithm)
    decode = algorithm.context.policy.tokenizer.decode
    position = 0
    for rollout, length in zip(batch.rollouts, batch.document_lengths, strict=True):
        ids = batch.ids_N[position : position + length].tolist()
        labels = batch.labels_N[position : position + length].tolist()
        prompt = f"<|im_start|>user\n{rollout.prompt.row['question']}<|im_end|>\n<|im_start|>assistant\n"
        assert decode(ids[: len(rollout.prompt.ids)]) == prompt
        assert ids == [*rollout.prompt.ids, *rollout.token_ids]
        assert [label for label in labels if label != IGNORED] == rollout.token_ids
        assert labels[: len(rollout.prompt.ids) - 1] == [IGNORED] * (len(rollout.prompt.ids) - 1)
        position += length


def test_nothing_flows_back_from_prompt_tokens(world: dict[str, Any], tmp_path: Path):
    _, algorithm = open_opd(tmp_path, world, on_policy=0.0)
    batch, policy = first_batch(algorithm), algorithm.context.policy
    states: list[torch.Tensor] = []
    hidden = policy.hidden

    def remember(one: Any) -> torch.Tensor:
        states.append(hidden(one))
        states[-1].retain_grad()
        return states[-1]

    policy.hidden = remember  # type: ignore[method-assign]
    algorithm.loss(batch, policy, targets=batch.targets).total.backward()
    slopes = states[0].grad
    assert slopes is not None
    assert slopes[batch.labels_N == IGNORED].abs().max() == 0
    assert (slopes[batch.labels_N != IGNORED].norm(dim=-1) > 0).all()


def test_a_batch_without_targets_loses_nothing(world: dict[str, Any], tmp_path: Path):
    _, algorithm = open_opd(tmp_path, world, on_policy=0.0)
    batch = first_batch(algorithm)
    empty = replace(
        batch, labels_N=torch.full_like(batch.labels_N, IGNORED), targets=0, teacher_KJ=batch.teacher_KJ[:0]
    )
    assert algorithm.loss(empty, algorithm.context.policy, targets=0).total.item() == 0.0


def test_a_prompt_of_the_teachers_own_leaves_the_students_tokens_in_place(world: dict[str, Any], tmp_path: Path):
    _, plain = open_opd(tmp_path / "plain", world, on_policy=0.0)
    _, guided = open_opd(tmp_path / "guided", world, on_policy=0.0, teacher_prompt="Name the day.")
    ours, theirs = first_batch(plain), first_batch(guided)
    assert torch.equal(ours.ids_N, theirs.ids_N)
    assert ours.teacher_KJ.shape == theirs.teacher_KJ.shape
    assert not torch.allclose(ours.teacher_KJ, theirs.teacher_KJ)
    rollout = theirs.rollouts[3]
    ids, trained = guided._for_teacher(rollout)
    decode = guided.context.policy.tokenizer.decode
    assert decode(ids) == "<|im_start|>system\nName the day.<|im_end|>\n" + decode(rollout.document()[0])
    assert ids[trained].tolist() == rollout.token_ids
    # The states that are compared are those of this document read alone.
    [alone] = guided.teacher.read([(ids, trained)], documents_at_once=1)
    start = sum(one.sampled for one in theirs.rollouts[:3])
    assert torch.allclose(theirs.teacher_KJ[start : start + rollout.sampled], alone, atol=1e-5)


def test_a_teachers_prompt_goes_before_the_system_turn_that_is_there(world: dict[str, Any], tmp_path: Path):
    _, algorithm = open_opd(tmp_path, world, system_prompt="Be brief.", teacher_prompt="Name the day.")
    prompt = algorithm.prompts.stores[0].prompt(0)
    decode = algorithm.context.policy.tokenizer.decode
    assert decode(prompt.ids).startswith("<|im_start|>system\nBe brief.<|im_end|>\n")
    assert decode(algorithm._teacher_prompt(prompt)).startswith(
        "<|im_start|>system\nName the day.\n\nBe brief.<|im_end|>"
    )


def test_tools_of_a_chat_stand_in_the_prompt_and_its_last_answer_is_the_target(world: dict[str, Any], tmp_path: Path):
    session = open_here(write_opd(tmp_path, world, data=[{"dataset": "chats@1"}], on_policy=0.0))
    assert session.policy is not None
    session.policy.tokenizer.chat_template = WITH_TOOLS
    algorithm = StageWork(session, 0, session.spec.recipe.stages[0]).algorithm
    assert isinstance(algorithm, Opd)
    rollout = first_batch(algorithm).rollouts[0]
    decode = algorithm.context.policy.tokenizer.decode
    question, answer = (message["content"] for message in rollout.prompt.row["messages"])
    assert decode(rollout.prompt.ids) == f"find_law\n<|im_start|>user\n{question}<|im_end|>\n<|im_start|>assistant\n"
    assert decode(rollout.token_ids) == f"{answer}<|im_end|>"


def test_likelihood_is_added_to_given_answers_only(world: dict[str, Any], tmp_path: Path):
    for on_policy in (0.0, 0.999999):
        _, algorithm = open_opd(tmp_path / f"{on_policy}", world, on_policy=on_policy, cross_entropy_weight=0.5)
        batch, policy = first_batch(algorithm), algorithm.context.policy
        terms = algorithm.loss(batch, policy, targets=batch.targets)
        assert ("cross_entropy" in terms.terms) == (on_policy == 0.0)
        if on_policy == 0.0:
            nll = policy.summed_nll(batch).item() / batch.targets
            assert terms.terms["cross_entropy"].item() == pytest.approx(0.5 * nll, rel=1e-5)
            assert terms.reported["distil/ce"][0] / batch.targets == pytest.approx(nll, rel=1e-5)


def test_the_sampled_estimate_has_the_slope_of_reverse_kl_in_expectation(world: dict[str, Any], tmp_path: Path):
    settings = {"estimator": "sampled", "beta": 1.0, "on_policy": 1.0}
    _, algorithm = open_opd(tmp_path, world, sampling={"max_new_tokens": 12, "top_p": 1.0}, **settings)
    batch, policy = first_batch(algorithm), algorithm.context.policy
    teacher, student = plain_distributions(algorithm, batch)
    label_K = batch.labels_N[batch.labels_N != IGNORED]
    gap = (student - teacher).gather(1, label_K[:, None])[:, 0].detach()
    terms = algorithm.loss(batch, policy, targets=batch.targets)
    assert terms.total.item() == pytest.approx(gap.mean().item(), rel=1e-4)
    weights = list(policy.model.parameters())
    found = torch.autograd.grad(terms.total, weights)
    plain = (gap * student.gather(1, label_K[:, None])[:, 0]).mean()
    for ours, theirs in zip(found, torch.autograd.grad(plain, weights, retain_graph=True), strict=True):
        assert (ours - theirs).norm() <= 1e-4 * max(theirs.norm().item(), 1e-4)
    # Summed over every token that could have been sampled, with its probability, it is the slope of the KL itself.
    every = (student.exp().detach() * (student - teacher).detach() * student).sum(-1).mean()
    expected = torch.autograd.grad(every, weights, retain_graph=True)
    for ours, theirs in zip(torch.autograd.grad(kl(student, teacher).mean(), weights), expected, strict=True):
        assert (ours - theirs).norm() <= 1e-4 * max(theirs.norm().item(), 1e-4)


def test_gradients_do_not_depend_on_how_the_step_is_cut(world: dict[str, Any], tmp_path: Path):
    found: list[tuple[float, torch.Tensor]] = []
    for accumulation, teacher_batch in ((1, 8), (2, 3), (8, 1)):
        work, algorithm = open_opd(
            tmp_path / f"{accumulation}",
            world,
            on_policy=1.0,
            beta=0.5,
            gradient_accumulation=accumulation,
            teacher_batch_size=teacher_batch,
        )
        [update] = work.collect()
        assert len(update.micro_batches) == accumulation
        metrics = work.optimize(update)
        gradient = torch.cat([weight.grad.flatten() for weight in work.policy.model.parameters()])
        found.append((metrics["train/loss"], gradient))
        work.session.events.close()
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        assert (gradient - found[0][1]).norm() <= 1e-5 * found[0][1].norm()


def test_the_coin_follows_from_seed_and_step_and_falls_as_often_as_it_should(world: dict[str, Any], tmp_path: Path):
    _, algorithm = open_opd(tmp_path, world, on_policy=0.25)
    sides = [algorithm._is_on_policy(step) for step in range(1, 2001)]
    assert sides == [algorithm._is_on_policy(step) for step in range(1, 2001)]
    assert 0.22 < sum(sides) / 2000 < 0.28


SETTINGS = [
    ({"estimator": "sampled", "sampling": {"top_p": 1.0}}, "beta 0.0 does not go with estimator sampled; set it to 1"),
    ({"estimator": "sampled", "beta": 1.0, "on_policy": 1.0}, "sampling.top_p 0.95 does not go with estimator sampled"),
    ({"on_policy": 1.0, "cross_entropy_weight": 0.1}, "cross_entropy_weight needs steps on given answers"),
    ({"teacher": ""}, "at least 1 character"),
]


@pytest.mark.parametrize(("settings", "word"), SETTINGS)
def test_settings_that_contradict_each_other_are_refused(settings: dict[str, Any], word: str):
    with pytest.raises(ValidationError, match=word):
        OpdStage(**{"data": [{"dataset": "asked@1"}], "steps": 1, "teacher": "teacher", **settings})


def test_a_teacher_with_other_tokens_is_refused_by_field(
    world: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    tokenizer = train_tokenizer(TEXTS[:10], vocab_size=300, context_length=128)
    stranger = initialise_policy(ModelShape(**TINY), tokenizer, seed=3, device=CPU)
    stranger.save(tmp_path / "stranger")
    file = ModelFile(path=str(tmp_path / "stranger"), sha256=hash_directory(tmp_path / "stranger"))
    other = {**world, "models": {**world["models"], "stranger": file.model_dump()}}
    assert run_here(write_opd(tmp_path / "out", other, teacher="stranger")) == 2
    assert capsys.readouterr().err.startswith("recipe.stages[0].teacher: teacher has another tokenizer than the policy")


def test_a_changed_teacher_is_refused(world: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    changed = {**world, "models": {**world["models"], "changed": {**world["models"]["teacher"], "sha256": "0" * 64}}}
    assert run_here(write_opd(tmp_path / "out", changed, teacher="changed")) == 2
    assert "models.teacher.sha256" in capsys.readouterr().err


def test_rows_without_answers_go_only_with_steps_of_the_students_own(
    world: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rows = [{"question": "When?"}, {"question": "Where?"}]
    datasets = {**world["datasets"], "asked@1": write_rows(tmp_path / "open.jsonl", rows, "prompts")}
    assert run_here(write_opd(tmp_path / "half", {**world, "datasets": datasets})) == 2
    assert "row 1 cannot be rendered: it has no answer" in capsys.readouterr().err
    assert run_here(write_opd(tmp_path / "whole", {**world, "datasets": datasets}, on_policy=1.0, steps=1)) == 0


def test_a_teacher_prompt_that_leaves_the_teacher_no_room_is_refused(
    world: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert run_here(write_opd(tmp_path / "out", world, teacher_prompt="Name the day. " * 30)) == 2
    assert "recipe.stages[0].teacher: teacher reads 128 tokens" in capsys.readouterr().err


def test_the_student_nears_the_teacher_and_a_resumed_run_ends_bit_for_bit_the_same(
    world: dict[str, Any], tmp_path: Path
):
    settings = {
        "steps": 10,
        "on_policy": 0.5,
        "held_out": [{"dataset": "held@1"}],
        "checkpoint_every": 5,
        "optimizer": {"learning_rate": 1e-2, "schedule": "constant"},
    }
    whole = write_opd(tmp_path / "whole", world, **settings)
    assert run_here(whole) == 0
    coins = metric(whole, "distil/on_policy")
    assert set(coins.values()) == {0.0, 1.0}
    for place, side in (("on", 1.0), ("off", 0.0)):
        assert set(metric(whole, f"distil/divergence_{place}_policy")) == {
            s for s, coin in coins.items() if coin == side
        }
        held = metric(whole, f"held_out/held@1/divergence_{place}_policy")
        assert held[10] < 0.8 * held[0], place
    part = write_opd(tmp_path / "part", world, **settings)
    spec = json.loads((part / "run.json").read_text())
    (part / "run.json").write_text(json.dumps({**spec, "resume_from": str(whole / "checkpoints" / "step-000005")}))
    assert run_here(part) == 0
    for key in ("train/loss", "train/grad_norm", "distil/on_policy"):
        assert metric(part, key) == {step: value for step, value in metric(whole, key).items() if step > 5}, key
    assert events_of(part, "checkpoint_saved")[-1].sha256 == events_of(whole, "checkpoint_saved")[-1].sha256

    stored = events_of(whole, "rollouts_stored")
    assert [event.step for event in stored] == [step for step, coin in coins.items() if coin]
    lines = zstandard.ZstdDecompressor().decompress((whole / stored[0].path).read_bytes()).splitlines()
    rollouts = [StoredRollout.model_validate_json(line) for line in lines]
    assert len(rollouts) == 8
    tokens = sum(len(rollout.tokens) for rollout in rollouts)
    mean = sum(float(rollout.detail["divergence"]) * len(rollout.tokens) for rollout in rollouts) / tokens
    assert mean == pytest.approx(metric(whole, "distil/divergence_on_policy")[stored[0].step], rel=1e-5)


def test_an_answer_longer_than_the_sequence_is_cut_and_not_the_prompt(world: dict[str, Any], tmp_path: Path):
    rows = [{"question": "When does market 1 open?", "answer": "On day 1. " * 60}]
    datasets = {**world["datasets"], "asked@1": write_rows(tmp_path / "long.jsonl", rows, "prompts")}
    _, algorithm = open_opd(tmp_path / "out", {**world, "datasets": datasets}, on_policy=0.0)
    rollouts: list[Rollout] = list(first_batch(algorithm).rollouts)
    assert {len(one.prompt.ids) + len(one.token_ids) for one in rollouts} == {96}
