"""Learning from pairs of answers: what is read, what the loss is, what it does to the policy."""

import copy
import math
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.trainer_runs import TINY, events_of, metric, open_here, run_here, text_rows, write_rows, write_run
from trainer.algorithms.dpo import Dpo
from trainer.contract.stages.cpt import ModelShape
from trainer.contract.stages.dpo import DpoStage
from trainer.data.batch import TokenBatch, flatten
from trainer.data.documents import DocumentStore, tokenize_rows
from trainer.data.rows import open_rows
from trainer.policy import Policy, initialise_policy
from trainer.preferences import answer_logprobs
from trainer.reference import Reference
from trainer.tokenizer import train_tokenizer

CPU = torch.device("cpu")


def pair_rows(count: int) -> list[dict[str, Any]]:
    """The better answer names the day, the worse one puts it off; of unequal lengths."""
    return [
        {
            "messages": [{"role": "user", "content": f"When does market {n} open?"}],
            "chosen": f"On day {n % 28 + 1}." + " It closes at dusk." * (n % 3),
            "rejected": "Later." + " Wait." * (n % 4),
        }
        for n in range(count)
    ]


@pytest.fixture(scope="module")
def policy() -> Policy:
    texts = [row["text"] for row in text_rows(30)] + ["When does market open? On day Later. Wait."]
    tokenizer = train_tokenizer(texts, vocab_size=320, context_length=128)
    policy = initialise_policy(ModelShape(**TINY), tokenizer, seed=0, device=CPU)
    policy.train_on_documents()
    return policy


def algorithm_for(policy: Policy, **settings: Any) -> Dpo:
    algorithm = Dpo(DpoStage(data=[{"dataset": "pairs@1"}], steps=1, **settings))
    algorithm.reference = Reference(policy)
    return algorithm


def read_pairs(policy: Policy, folder: Path, rows: list[dict[str, Any]], *, longest: int = 128) -> DocumentStore:
    file = open_rows("pairs@1", write_rows(folder / "pairs.jsonl", rows, "preferences"))
    algorithm = algorithm_for(policy)
    return tokenize_rows(
        file,
        lambda row: algorithm.render(row, policy),
        policy.tokenizer,
        longest=longest,
        may_cut=algorithm.may_cut,
        progress=lambda done: None,
    )


def batch_of(policy: Policy, folder: Path, count: int = 3) -> TokenBatch:
    store = read_pairs(policy, folder, pair_rows(count))
    return flatten([part for number in range(len(store)) for part in store.parts(number)], device=CPU)


def test_each_answer_is_read_after_the_prompt_and_only_the_answers_train(policy: Policy, tmp_path: Path):
    store = read_pairs(policy, tmp_path, pair_rows(2))
    decode = policy.tokenizer.decode
    prompt = "<|im_start|>user\nWhen does market 1 open?<|im_end|>\n<|im_start|>assistant\n"
    shown = [(decode(ids), decode(ids[trained])) for ids, trained in store.parts(1)]
    assert shown == [
        (prompt + "On day 2. It closes at dusk.<|im_end|>", "On day 2. It closes at dusk.<|im_end|>"),
        (prompt + "Later. Wait.<|im_end|>", "Later. Wait.<|im_end|>"),
    ]


def test_the_answers_of_a_pair_do_not_see_each_other(policy: Policy, tmp_path: Path):
    store = read_pairs(policy, tmp_path, pair_rows(3))
    together = answer_logprobs(policy, batch_of(policy, tmp_path))
    alone = torch.cat(
        [answer_logprobs(policy, flatten([part], device=CPU)) for number in range(3) for part in store.parts(number)]
    )
    assert len(together) == 6
    assert torch.allclose(together, alone, rtol=1e-5)


def test_log_probabilities_are_those_of_transformers(policy: Policy, tmp_path: Path):
    store = read_pairs(policy, tmp_path, pair_rows(1))
    plain = copy.deepcopy(policy.model).eval()
    plain.set_attn_implementation("sdpa")
    for ids, trained in store.parts(0):
        ids_T = torch.from_numpy(ids.astype("int64"))
        with torch.no_grad():
            logp_TV = plain(ids_T[None]).logits[0].log_softmax(-1)
        expected = sum(logp_TV[t - 1, ids_T[t]].item() for t in range(1, len(ids)) if trained[t])
        assert answer_logprobs(policy, flatten([(ids, trained)], device=CPU)).item() == pytest.approx(
            expected, rel=1e-5
        )


def test_a_pair_that_does_not_fit_is_left_out_whole(policy: Policy, tmp_path: Path):
    rows = [*pair_rows(2), {**pair_rows(1)[0], "rejected": "Wait. " * 100}]
    store = read_pairs(policy, tmp_path, rows)
    assert (len(store), store.too_long, store.cut) == (2, 1, 0)


@pytest.mark.parametrize(("loss", "at_start"), [("sigmoid", math.log(2)), ("ipo", 25.0)])
def test_an_unchanged_policy_has_margin_zero(policy: Policy, tmp_path: Path, loss: str, at_start: float):
    terms = algorithm_for(policy, loss=loss).loss(batch_of(policy, tmp_path), policy, targets=1)
    assert terms.total.item() == pytest.approx(3 * at_start, rel=1e-5)  # IPO: (0 − 1/(2 · 0.1))²
    assert terms.counted == 3
    assert terms.reported["preference/margin"] == (pytest.approx(0, abs=1e-4), 3)


@pytest.mark.parametrize("loss", ["sigmoid", "ipo"])
def test_the_loss_and_its_gradient_are_those_of_the_plain_formula(policy: Policy, tmp_path: Path, loss: str):
    batch = batch_of(policy, tmp_path)
    algorithm = algorithm_for(policy, loss=loss, beta=0.3)
    with torch.no_grad():
        for weight in algorithm.reference.policy.model.parameters():
            weight.add_(0.02 * torch.randn(weight.shape, generator=torch.Generator().manual_seed(weight.numel())))

    def plain(one: Policy) -> torch.Tensor:
        logp_NV = (one.hidden(batch) @ one.model.get_output_embeddings().weight.T).log_softmax(-1)
        logp_N = logp_NV.gather(1, batch.labels_N.clamp(min=0)[:, None])[:, 0] * (batch.labels_N >= 0)
        return torch.stack([part.sum() for part in logp_N.split(batch.document_lengths)])

    gain = plain(policy) - plain(algorithm.reference.policy).detach()
    h = gain[0::2] - gain[1::2]
    wanted = -torch.sigmoid(0.3 * h).log() if loss == "sigmoid" else (h - 1 / 0.6) ** 2
    weights = list(policy.model.parameters())
    expected = torch.autograd.grad(wanted.mean(), weights)
    terms = algorithm.loss(batch, policy, targets=3)
    found = torch.autograd.grad(terms.total, weights)
    assert terms.total.item() == pytest.approx(wanted.mean().item(), rel=1e-5)
    for ours, theirs in zip(found, expected, strict=True):
        assert (ours - theirs).norm() <= 1e-5 * max(theirs.norm().item(), 1e-3)
    accuracy, pairs = terms.reported["preference/accuracy"]
    assert (accuracy, pairs) == ((h > 0).sum().item(), 3)


INITIAL = {"kind": "cpt", "data": [{"dataset": "law@1"}], "steps": 1, "sequence_length": 64, "initialise": TINY}
STAGE = {
    "kind": "dpo",
    "data": [{"dataset": "pairs@1"}],
    "held_out": [{"dataset": "held@1"}],
    "steps": 10,
    "batch_size": 4,
    "sequence_length": 128,
    "checkpoint_every": 5,
    "optimizer": {"learning_rate": 3e-3},
}


@pytest.fixture(scope="module")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("data")
    return {
        "law@1": write_rows(folder / "law.jsonl", text_rows(20), "text"),
        "pairs@1": write_rows(folder / "pairs.jsonl", pair_rows(30), "preferences"),
        "held@1": write_rows(folder / "held.jsonl", pair_rows(50)[30:], "preferences"),
    }


def test_gradients_do_not_depend_on_how_the_step_is_cut(datasets: dict[str, Any], tmp_path: Path):
    from trainer.stage import StageWork

    found: list[tuple[float, torch.Tensor]] = []
    for accumulation in (1, 2, 8):
        stage = {**STAGE, "batch_size": 8, "gradient_accumulation": accumulation, "optimizer": {"clip_norm": 1e9}}
        session = open_here(write_run(tmp_path / f"{accumulation}", [INITIAL, stage], datasets))
        StageWork(session, 0, session.spec.recipe.stages[0])
        work = StageWork(session, 1, session.spec.recipe.stages[1])
        [update] = work.collect()
        assert len(update.micro_batches) == accumulation
        metrics = work.optimize(update)
        assert session.policy is not None
        gradient = torch.cat([weight.grad.flatten() for weight in session.policy.model.parameters()])
        found.append((metrics["train/loss"], gradient))
        session.events.close()
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-5)
        assert (gradient - found[0][1]).norm() <= 1e-5 * found[0][1].norm()
    assert found[0][0] == pytest.approx(math.log(2), rel=1e-4)  # the mean over pairs, not over tokens


def test_preferred_answers_win_on_pairs_never_trained_and_a_resumed_run_ends_the_same(
    datasets: dict[str, Any], tmp_path: Path
):
    whole = write_run(tmp_path / "whole", [INITIAL, STAGE], datasets)
    assert run_here(whole) == 0
    accuracy, loss = (metric(whole, f"held_out/held@1/{key}") for key in ("accuracy", "loss"))
    assert loss[1] == pytest.approx(math.log(2), rel=1e-4)
    assert accuracy[11] == 1.0
    assert loss[11] < 0.5 * loss[1]
    assert metric(whole, "preference/margin")[11] > 1
    part = write_run(
        tmp_path / "part", [INITIAL, STAGE], datasets, resume_from=str(whole / "checkpoints" / "step-000006")
    )
    assert run_here(part) == 0
    after = {step: value for step, value in metric(whole, "train/loss").items() if step > 6}
    assert metric(part, "train/loss") == after
    last, ours = (events_of(out, "checkpoint_saved")[-1] for out in (whole, part))
    assert last.sha256 == ours.sha256
