"""What tools said is read and never learnt: no gradient reaches the places that would predict it."""

import pytest
import torch

from tests.rollout_runs import GRPO, open_stage, write_base
from trainer.rollouts.prompts import Prompt
from trainer.rollouts.rollout import Ending, Rollout

SAID = [[11, 12, 13], [21, 22], [31, 32, 33, 34]]
TOOL = [[5, 6, 7, 8], [9]]


def episode(index: int, tool: list[list[int]], advantage: float) -> Rollout:
    tokens, trained = [], []
    for place, turn in enumerate(SAID):
        tokens += turn
        trained += [True] * len(turn)
        if place < len(tool):
            tokens += tool[place]
            trained += [False] * len(tool[place])
    return Rollout(
        prompt=Prompt(name="some@1#0", row={}, ids=(3, 4), text="question"),
        group=0,
        index=index,
        token_ids=tokens,
        trained=trained,
        logprobs=[-2.0 if flag else None for flag in trained],
        text="answer",
        stop_reason=Ending.ANSWERED,
        advantage=advantage,
    )


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory):
    stage = {**GRPO, "steps": 1, "batch_size": 2, "group_size": 2, "importance_cap": None}
    return open_stage(tmp_path_factory.mktemp("run"), stage, write_base(tmp_path_factory.mktemp("base")))


def loss_of(work, rollouts: list[Rollout]):
    (batch,) = work.algorithm.learn_from(rollouts, part=0).micro_batches
    return batch, work.algorithm.loss(batch, work.policy, targets=batch.targets)


def test_no_gradient_reaches_the_places_that_would_predict_what_tools_said(work):
    rollouts = [episode(0, TOOL, 1.0), episode(1, TOOL, -0.5)]
    found: list[torch.Tensor] = []

    def keep(module, inputs, output):
        output.retain_grad()
        found.append(output)

    hook = work.policy.model.get_decoder().norm.register_forward_hook(keep)
    try:
        _, terms = loss_of(work, rollouts)
        terms.total.backward()
    finally:
        hook.remove()
    flags = [flag for one in rollouts for flag in one.document()[1]]
    predicts_target = torch.tensor([*flags[1:], False])
    # The last place of an episode predicts nothing: the next token is another episode's prompt.
    gradient_N = found[-1].grad.squeeze(0).norm(dim=-1)
    assert gradient_N.shape == predicts_target.shape
    assert torch.all(gradient_N[~predicts_target] == 0)
    assert torch.all(gradient_N[predicts_target] > 0)


def test_the_denominators_count_sampled_tokens_alone(work):
    """Longer outputs of tools weigh nothing: 9 sampled tokens each, whatever tools said."""
    short, _ = loss_of(work, [episode(0, TOOL, 1.0), episode(1, TOOL, -0.5)])
    long, _ = loss_of(work, [episode(0, [[5] * 20, [9] * 10], 1.0), episode(1, TOOL, -0.5)])
    assert short.targets == long.targets == 18
    assert torch.equal(short.weight_K, long.weight_K)
    assert short.weight_K.sum().item() == pytest.approx(1.0)


def test_a_place_without_its_mark_is_no_rollout():
    with pytest.raises(ValueError, match="9 tokens, 8 marks and 9 log-probabilities are no rollout"):
        Rollout(
            prompt=Prompt(name="some@1#0", row={}, ids=(3,), text=""),
            group=0,
            index=0,
            token_ids=[1] * 9,
            trained=[True] * 8,
            logprobs=[0.0] * 9,
            text="",
            stop_reason=Ending.ANSWERED,
        )
