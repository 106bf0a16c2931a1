"""Divergence of student and teacher: by hand, against the whole softmax, by finite differences, however it is cut."""

import math

import pytest
import torch
from torch import Tensor

from tests.finite_differences import assert_slopes
from trainer.losses import (
    Divergence,
    divergence,
    divergence_from_logits,
    divergence_within,
    top_logits,
)

POSITIONS, UNITS, TEACHER_UNITS = 9, 6, 4
STUDENT_ENTRIES, TEACHER_ENTRIES, SHARED = 11, 13, 10
BETAS = [0.0, 0.1, 0.5, 1.0]
ONE = torch.ones(1, 1, dtype=torch.float64)


@pytest.fixture
def models() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)

    def draw(*shape: int) -> Tensor:
        return torch.randn(*shape, dtype=torch.float64, generator=generator)

    student = draw(POSITIONS, UNITS).requires_grad_(), draw(STUDENT_ENTRIES, UNITS).requires_grad_()
    return *student, draw(POSITIONS, TEACHER_UNITS), draw(TEACHER_ENTRIES, TEACHER_UNITS)


def whole_softmax(
    hidden: Tensor,
    weight: Tensor,
    teacher_hidden: Tensor,
    teacher_weight: Tensor,
    *,
    beta: float,
    temperature: float = 1.0,
    top_k: int | None = None,
    vocabulary: int = SHARED,
) -> Tensor:
    """The formulas as the paper writes them, of each position."""
    student = hidden @ weight[:vocabulary].T
    teacher = teacher_hidden @ teacher_weight[:vocabulary].T
    if top_k is not None:
        likeliest = teacher.topk(top_k, dim=-1).indices
        student, teacher = student.gather(1, likeliest), teacher.gather(1, likeliest)
    s, t = (student / temperature).softmax(dim=-1), (teacher / temperature).softmax(dim=-1)

    def kl(p: Tensor, q: Tensor) -> Tensor:
        return (p * (p / q).log()).sum(dim=-1)

    if beta in (0.0, 1.0):
        return kl(t, s) if beta == 0 else kl(s, t)
    mixture = beta * t + (1 - beta) * s
    return beta * kl(t, mixture) + (1 - beta) * kl(s, mixture)


def assert_equal(found: Divergence, wanted: Tensor, student: tuple[Tensor, Tensor], limit: float = 1e-12) -> None:
    assert (found.values_K - wanted).abs().max() < limit
    assert not found.values_K.requires_grad
    assert found.total.item() == pytest.approx(wanted.sum().item())
    ours = torch.autograd.grad(found.total * 0.5, student)
    theirs = torch.autograd.grad(wanted.sum() * 0.5, student, retain_graph=True)
    for a, b in zip(ours, theirs, strict=True):
        assert (a - b).abs().max() < limit


def two_entries(student: float, teacher: float, beta: float) -> Divergence:
    """Distributions (p, 1 − p) as a head of one unit whose second logit is 0."""
    heads = [torch.tensor([[math.log(p / (1 - p))], [0.0]], dtype=torch.float64) for p in (student, teacher)]
    return divergence(ONE, heads[0], ONE, heads[1], beta=beta)


def test_two_entries_by_hand():
    # S = (½, ½), T = (¾, ¼).
    forward = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    reverse = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
    assert two_entries(0.5, 0.75, 0.0).total.item() == pytest.approx(forward)
    assert two_entries(0.5, 0.75, 1.0).total.item() == pytest.approx(reverse)
    # β = ½: M = (⅝, ⅜), half of each KL to it.
    to_teacher = 0.75 * math.log(6 / 5) + 0.25 * math.log(2 / 3)
    to_student = 0.5 * math.log(4 / 5) + 0.5 * math.log(4 / 3)
    assert two_entries(0.5, 0.75, 0.5).total.item() == pytest.approx((to_teacher + to_student) / 2)
    # β = 0.2: M = 0.2 T + 0.8 S = (0.55, 0.45).
    to_teacher = 0.75 * math.log(0.75 / 0.55) + 0.25 * math.log(0.25 / 0.45)
    to_student = 0.5 * math.log(0.5 / 0.55) + 0.5 * math.log(0.5 / 0.45)
    assert two_entries(0.5, 0.75, 0.2).total.item() == pytest.approx(0.2 * to_teacher + 0.8 * to_student)


def test_top_two_of_three_by_hand():
    # T = (½, 3/8, ⅛) keeps its first two as (4/7, 3/7); S = (¼, ¼, ½) becomes (½, ½) there.
    teacher = torch.tensor([[0.5], [0.375], [0.125]], dtype=torch.float64).log()
    student = torch.tensor([[0.25], [0.25], [0.5]], dtype=torch.float64).log().requires_grad_()
    found = divergence(ONE, student, ONE, teacher, beta=0.0, top_k=2)
    assert found.total.item() == pytest.approx(4 / 7 * math.log(8 / 7) + 3 / 7 * math.log(6 / 7))
    [grad] = torch.autograd.grad(found.total, student)
    assert grad[:, 0].tolist() == pytest.approx([1 / 2 - 4 / 7, 1 / 2 - 3 / 7, 0.0])


@pytest.mark.parametrize("beta", BETAS)
def test_a_student_that_is_its_teacher_learns_nothing(models, beta):
    hidden, weight, *_ = models
    found = divergence(hidden, weight, hidden, weight, beta=beta)
    assert found.values_K.abs().max() < 1e-14
    for grad in torch.autograd.grad(found.total, (hidden, weight)):
        assert grad.abs().max() < 1e-14


@pytest.mark.parametrize("cut", [{}, {"chunk": 4}, {"chunk": 1}, {"entries": 4}, {"chunk": 4, "entries": 3}])
@pytest.mark.parametrize("temperature", [1.0, 1.7])
@pytest.mark.parametrize("beta", BETAS)
def test_value_and_gradients_equal_those_of_the_whole_softmax(models, beta, temperature, cut):
    wanted = whole_softmax(*models, beta=beta, temperature=temperature)
    found = divergence(*models, beta=beta, temperature=temperature, vocabulary=SHARED, **cut)
    assert_equal(found, wanted, models[:2])
    stored = models[2] @ models[3].T
    found = divergence_from_logits(
        *models[:2],
        stored.log_softmax(dim=-1),
        beta=beta,
        temperature=temperature,
        vocabulary=TEACHER_ENTRIES - 2,
        **cut,
    )
    wanted = whole_softmax(*models, beta=beta, temperature=temperature, vocabulary=STUDENT_ENTRIES)
    assert_equal(found, wanted, models[:2])


@pytest.mark.parametrize("chunk", [None, 4])
@pytest.mark.parametrize("beta", BETAS)
def test_top_k_renormalises_within_what_the_teacher_finds_likely(models, beta, chunk):
    wanted = whole_softmax(*models, beta=beta, temperature=1.3, top_k=3)
    found = divergence(*models, beta=beta, temperature=1.3, top_k=3, vocabulary=SHARED, chunk=chunk)
    assert_equal(found, wanted, models[:2])
    tokens, logits = top_logits(models[2], models[3][:SHARED], 3, chunk=chunk)
    shifted = logits - 5.0  # as log-probabilities are: off by a constant
    assert_equal(
        divergence_within(*models[:2], tokens, shifted, beta=beta, temperature=1.3, chunk=2), wanted, models[:2]
    )


def test_all_of_the_vocabulary_is_no_top_k(models):
    for top_k in (SHARED, 1000):
        found = divergence(*models, beta=0.5, top_k=top_k, vocabulary=SHARED)
        assert_equal(found, whole_softmax(*models, beta=0.5), models[:2])


@pytest.mark.parametrize("cut", [{}, {"chunk": 4, "entries": 3}, {"top_k": 4}])
@pytest.mark.parametrize("beta", BETAS)
def test_divergence_passes_finite_differences(models, beta, cut):
    hidden, weight, *teacher = models
    assert_slopes(
        lambda h, w: divergence(h, w, *teacher, beta=beta, temperature=1.2, **cut).total,
        [hidden, weight],
    )


def test_padded_entries_take_no_part(models):
    hidden, weight, teacher_hidden, teacher_weight = models
    with torch.no_grad():
        weight[SHARED:] *= 100
        teacher_weight[SHARED:] *= 100
    found = divergence(*models, beta=0.5, vocabulary=SHARED)
    assert_equal(found, whole_softmax(*models, beta=0.5), (hidden, weight))
    _, grad = torch.autograd.grad(divergence(*models, beta=0.5, vocabulary=SHARED).total, (hidden, weight))
    assert grad[SHARED:].abs().max() == 0


@pytest.mark.parametrize("top_k", [None, 3])
def test_no_position_gives_zero(models, top_k):
    hidden, weight, teacher_hidden, teacher_weight = models
    found = divergence(hidden[:0], weight, teacher_hidden[:0], teacher_weight, beta=0.5, top_k=top_k)
    assert found.total.item() == 0.0
    for grad in torch.autograd.grad(found.total, (hidden, weight)):
        assert grad.abs().sum() == 0.0


@pytest.mark.parametrize("top_k", [None, 50])
@pytest.mark.parametrize("beta", BETAS)
def test_half_precision_and_far_apart_distributions_stay_finite_and_near(beta, top_k):
    generator = torch.Generator().manual_seed(4)
    student = [torch.randn(60, 16, generator=generator), torch.randn(300, 16, generator=generator) * 4]
    teacher = [torch.randn(60, 16, generator=generator), torch.randn(300, 16, generator=generator) * 4]
    rounded = [tensor.bfloat16() for tensor in (*student, *teacher)]
    for tensor in rounded[:2]:
        tensor.requires_grad_()
    exact = [tensor.detach().double() for tensor in rounded]
    for tensor in exact[:2]:
        tensor.requires_grad_()
    wanted = divergence(*exact, beta=beta, top_k=top_k)
    found = divergence(*rounded, beta=beta, top_k=top_k, chunk=16)
    assert found.values_K.dtype == torch.float32
    assert found.total.item() == pytest.approx(wanted.total.item(), rel=1e-3)
    ours = torch.autograd.grad(found.total, rounded[:2])
    theirs = torch.autograd.grad(wanted.total, exact[:2])
    for a, b in zip(ours, theirs, strict=True):
        assert torch.isfinite(a).all()
        assert (a - b).norm() < 0.01 * b.norm()


@pytest.mark.parametrize("top_k", [None, 3])
def test_the_precision_of_autocast_does_not_reach_the_divergence(models, top_k):
    single = [tensor.detach().float() for tensor in models]
    for tensor in single[:2]:
        tensor.requires_grad_()
    outside = divergence(*single, beta=0.5, top_k=top_k)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside = divergence(*single, beta=0.5, top_k=top_k)
    assert inside.values_K.tolist() == outside.values_K.tolist()


def test_bad_settings_are_named(models):
    with pytest.raises(ValueError, match=r"beta 1\.5"):
        divergence(*models, beta=1.5)
    with pytest.raises(ValueError, match="temperature 0"):
        divergence(*models, beta=0.5, temperature=0)
    with pytest.raises(ValueError, match="9 positions of the student stand against 8 of the teacher"):
        divergence(models[0], models[1], models[2][:8], models[3], beta=0.5)
