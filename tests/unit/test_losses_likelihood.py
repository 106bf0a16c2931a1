"""Log-probabilities a chunk of positions at a time: by hand, against the whole softmax, by finite differences."""

import math

import pytest
import torch
from torch import Tensor

from tests.finite_differences import assert_slopes
from trainer.losses import IGNORED, f_alpha, keep_by_threshold, summed_f_alpha, summed_nll, token_logprobs
from trainer.losses.likelihood import summed_objective

POSITIONS, UNITS, ENTRIES = 13, 6, 11


@pytest.fixture
def head() -> tuple[Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(5)
    hidden = torch.randn(POSITIONS, UNITS, dtype=torch.float64, generator=generator).requires_grad_()
    weight = torch.randn(ENTRIES, UNITS, dtype=torch.float64, generator=generator).requires_grad_()
    return hidden, weight, torch.randint(ENTRIES, (POSITIONS,), generator=generator)


def whole_softmax(hidden: Tensor, weight: Tensor, labels: Tensor, temperature: float = 1.0) -> Tensor:
    return (hidden @ weight.T / temperature).log_softmax(dim=-1).gather(1, labels[:, None])[:, 0]


def gradients(loss: Tensor, *inputs: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(loss, inputs))


def assert_close(found: list[Tensor], wanted: list[Tensor], limit: float) -> None:
    for ours, theirs in zip(found, wanted, strict=True):
        assert (ours - theirs).abs().max() <= limit


def test_two_tokens_at_temperature_two_by_hand():
    # Logits (2 ln 3, 0) at temperature 2 are (ln 3, 0): probabilities ¾ and ¼, entropy ln 4 − ¾ ln 3.
    hidden = torch.tensor([[2 * math.log(3)]]).repeat(2, 1).requires_grad_()
    weight = torch.tensor([[1.0], [0.0]])
    logp, entropy = token_logprobs(hidden, weight, torch.tensor([0, 1]), temperature=2.0, with_entropy=True)
    assert logp.tolist() == pytest.approx([math.log(3 / 4), math.log(1 / 4)])
    assert entropy.tolist() == pytest.approx([math.log(4) - 0.75 * math.log(3)] * 2)
    # ∂ log p₀/∂ logit₀ = (1 − ¾)/2 and ∂ log p₁/∂ logit₀ = −¾/2; the other entry's weight is 0.
    [grad] = gradients(logp.sum(), hidden)
    assert grad[:, 0].tolist() == pytest.approx([1 / 8, -3 / 8])
    assert not entropy.requires_grad


@pytest.mark.parametrize("chunk", [None, 13, 4, 1])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_logprobs_and_their_gradients_equal_those_of_the_whole_softmax(head, chunk, temperature):
    hidden, weight, labels = head
    rise = torch.linspace(-2, 3, POSITIONS, dtype=torch.float64)
    wanted = whole_softmax(hidden, weight, labels, temperature)
    found, entropy = token_logprobs(hidden, weight, labels, temperature=temperature, chunk=chunk, with_entropy=True)
    assert (found - wanted).abs().max() < 1e-12
    whole = (hidden @ weight.T / temperature).log_softmax(dim=-1)
    assert (entropy + (whole.exp() * whole).sum(dim=-1)).abs().max() < 1e-12
    assert_close(
        gradients((found * rise).sum(), hidden, weight), gradients((wanted * rise).sum(), hidden, weight), 1e-12
    )


@pytest.mark.parametrize("chunk", [None, 3])
def test_logprobs_pass_finite_differences(head, chunk):
    hidden, weight, labels = head
    rise = torch.linspace(-2, 3, POSITIONS, dtype=torch.float64)
    assert_slopes(
        lambda h, w: (token_logprobs(h, w, labels, temperature=0.8, chunk=chunk) * rise).sum(), [hidden, weight]
    )


def test_in_single_precision_the_difference_is_one_of_rounding():
    generator = torch.Generator().manual_seed(1)
    hidden = torch.randn(300, 64, generator=generator).requires_grad_()
    weight = (torch.randn(1500, 64, generator=generator) * 0.3).requires_grad_()
    labels = torch.randint(1500, (300,), generator=generator)
    for chunk in (None, 64):
        wanted = whole_softmax(hidden, weight, labels)
        found = token_logprobs(hidden, weight, labels, chunk=chunk)
        assert (found - wanted).abs().max() < 1e-5
        ours, theirs = gradients(found.mean(), hidden, weight), gradients(wanted.mean(), hidden, weight)
        for a, b in zip(ours, theirs, strict=True):
            assert (a - b).norm() < 1e-5 * b.norm()


def test_a_frozen_head_gets_no_gradient_and_the_hidden_states_get_theirs(head):
    hidden, weight, labels = head
    frozen = weight.detach()
    for loss in (token_logprobs(hidden, frozen, labels, chunk=5).sum(), -summed_nll(hidden, frozen, labels, chunk=5)):
        wanted = gradients(whole_softmax(hidden, frozen, labels).sum(), hidden)
        assert_close(gradients(loss, hidden), wanted, 1e-12)


def test_no_position_gives_zero_and_no_gradient_that_is_not_a_number(head):
    hidden, weight, _ = head
    none = torch.zeros(0, dtype=torch.long)
    for loss in (
        token_logprobs(hidden[:0], weight, none).sum(),
        summed_nll(hidden, weight, torch.full((POSITIONS,), IGNORED)),
        summed_f_alpha(hidden[:0], weight, none, alpha=0.5)[0],
    ):
        assert loss.item() == 0.0
        assert_close(gradients(loss, hidden, weight), [torch.zeros_like(hidden), torch.zeros_like(weight)], 0.0)


def test_half_precision_inputs_are_summed_in_single(head):
    generator = torch.Generator().manual_seed(2)
    hidden = (torch.randn(200, 32, generator=generator) * 4).bfloat16().requires_grad_()
    weight = torch.randn(700, 32, generator=generator).bfloat16().requires_grad_()
    labels = torch.randint(700, (200,), generator=generator)
    exact = [hidden.detach().double().requires_grad_(), weight.detach().double().requires_grad_()]
    for chunk in (None, 16):
        wanted = whole_softmax(*exact, labels)
        found = token_logprobs(hidden, weight, labels, chunk=chunk)
        assert found.dtype == torch.float32
        assert (found - wanted).abs().max() < 1e-4 * wanted.abs().max()
        for ours, theirs in zip(gradients(found.sum(), hidden, weight), gradients(wanted.sum(), *exact), strict=True):
            assert ours.dtype == torch.bfloat16
            assert (ours - theirs).norm() < 0.01 * theirs.norm()


def test_single_precision_weights_meet_half_precision_states_under_autocast(head):
    hidden, weight, labels = head
    hidden, weight = hidden.detach().bfloat16().requires_grad_(), weight.detach().float().requires_grad_()
    wanted = gradients(whole_softmax(hidden.float(), weight, labels).sum(), hidden, weight)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = gradients(token_logprobs(hidden, weight, labels, chunk=4).sum(), hidden, weight)
    for ours, theirs in zip(found, wanted, strict=True):
        assert ours.dtype == theirs.dtype
        assert (ours - theirs).norm() < 0.02 * theirs.norm()


def test_a_sum_formed_in_the_forward_pass_refuses_a_second_backward(head):
    hidden, weight, labels = head
    loss = summed_nll(hidden, weight, labels)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError, match="forms its gradient once"):
        loss.backward()


def test_an_objective_sees_the_rows_it_is_given(head):
    hidden, weight, labels = head
    advantage = torch.linspace(-1, 1, POSITIONS, dtype=torch.float64)
    behaviour = whole_softmax(hidden, weight, labels).detach() - 0.1
    total, logp = summed_objective(
        hidden,
        weight,
        labels,
        lambda logp_C, rows: -(logp_C - behaviour[rows]).exp() * advantage[rows],
        temperature=0.9,
        chunk=4,
    )
    plain = whole_softmax(hidden, weight, labels, 0.9)
    wanted = (-(plain - behaviour).exp() * advantage).sum()
    assert total.item() == pytest.approx(wanted.item())
    assert (logp - plain).abs().max() < 1e-12
    assert_close(gradients(total, hidden, weight), gradients(wanted, hidden, weight), 1e-12)


def test_f_alpha_by_hand():
    quarter = torch.tensor([0.25], dtype=torch.float64).log()
    assert f_alpha(quarter, 1.0).item() == pytest.approx(0.75)
    assert f_alpha(quarter, 0.5).item() == pytest.approx(1.0)
    assert f_alpha(quarter, 2.0).item() == pytest.approx(15 / 32)
    assert f_alpha(quarter, -1.0).item() == pytest.approx(3.0)
    assert f_alpha(quarter, 0.0).item() == pytest.approx(math.log(4))


def test_a_small_alpha_keeps_its_digits():
    logp = torch.tensor([-0.001, -3.0, -40.0])
    for alpha in (1e-6, -1e-6):
        assert f_alpha(logp, alpha).tolist() == pytest.approx((-logp).tolist(), rel=1e-4)


@pytest.mark.parametrize("alpha", [-1.0, -0.3, 0.0, 0.5, 1.0, 10.0])
def test_f_alpha_weighs_the_gradient_of_likelihood_by_p_to_the_alpha(head, alpha):
    hidden, weight, labels = head
    logp = whole_softmax(hidden, weight, labels)
    wanted = gradients(-((alpha * logp).exp().detach() * logp).sum(), hidden, weight)
    total, kept = summed_f_alpha(hidden, weight, labels, alpha=alpha, chunk=5)
    assert kept == POSITIONS
    assert total.item() == pytest.approx(f_alpha(logp, alpha).sum().item())
    assert_close(gradients(total, hidden, weight), wanted, 1e-9)


def test_f_alpha_passes_finite_differences(head):
    hidden, weight, labels = head
    for alpha in (-0.5, 0.0, 1.5):
        assert_slopes(lambda h, w, a=alpha: summed_f_alpha(h, w, labels, alpha=a)[0], [hidden, weight])


def test_a_hopeless_token_with_negative_alpha_stays_finite():
    logp = torch.tensor([-200.0, -29.0], requires_grad=True)
    values = f_alpha(logp, -1.0)
    values.sum().backward()
    assert torch.isfinite(values).all()
    # Beyond e³⁰ the slope stays −e³⁰; before it is −1/p.
    assert logp.grad is not None
    assert logp.grad.tolist() == pytest.approx([-math.exp(30), -math.exp(29)], rel=1e-4)


def test_thresholds_keep_their_side_with_its_edge():
    logp = torch.tensor([0.1, 0.3, 0.5]).log()
    assert keep_by_threshold(logp, 0.3, "above").tolist() == [False, True, True]
    assert keep_by_threshold(logp, 0.3, "below").tolist() == [True, True, False]
    assert keep_by_threshold(logp, 0.0, "above").tolist() == [True, True, True]


@pytest.mark.parametrize("side", ["above", "below"])
def test_dropped_tokens_neither_count_nor_teach(head, side):
    hidden, weight, labels = head
    logp = whole_softmax(hidden, weight, labels)
    keep = logp.exp() >= 0.05 if side == "above" else logp.exp() <= 0.05
    assert 0 < keep.sum() < POSITIONS
    total, kept = summed_f_alpha(hidden, weight, labels, alpha=1.0, threshold=0.05, side=side, chunk=4)
    assert kept == int(keep.sum())
    assert total.item() == pytest.approx((1 - logp.exp())[keep].sum().item())
    [grad] = gradients(total, hidden)
    assert grad[~keep].abs().max() == 0
    assert grad[keep].abs().max() > 0
