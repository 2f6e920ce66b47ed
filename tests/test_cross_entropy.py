"""The chunked cross-entropy equals the plain one, in values and gradients, in memory that the vocabulary leaves flat."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from mmkit import cross_entropy


@pytest.fixture(autouse=True)
def few_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks of a few rows, tiles of a few columns."""
    monkeypatch.setattr(cross_entropy, "_SCORES", {"cpu": 1000})
    monkeypatch.setattr(cross_entropy, "_TILE", 64)


def inputs(rows: int = 37, size: int = 150, dim: int = 16) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(rows, dim, generator=generator).requires_grad_()
    weight = torch.randn(size, dim, generator=generator).requires_grad_()
    bias = torch.randn(size, generator=generator).requires_grad_()
    return hidden, weight, bias, torch.randint(0, size, (rows,), generator=generator)


def gradients(loss: Tensor, *given: Tensor) -> list[Tensor]:
    return list(torch.autograd.grad(0.25 * loss, given))


def plain(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, smoothing: float) -> Tensor:
    scores = functional.linear(hidden, weight, bias)
    return functional.cross_entropy(scores.float(), targets, reduction="sum", label_smoothing=smoothing)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("biased", [True, False])
@pytest.mark.parametrize("native", [True, False])
def test_float32_equals_plain_cross_entropy(
    monkeypatch: pytest.MonkeyPatch, native: bool, biased: bool, smoothing: float
) -> None:
    if not native:
        monkeypatch.delattr(nn, "LinearCrossEntropyOptions", raising=False)
    hidden, weight, bias, targets = inputs()
    given = (hidden, weight, bias) if biased else (hidden, weight)
    expected = plain(hidden, weight, bias if biased else None, targets, smoothing)
    got = cross_entropy.linear_cross_entropy(hidden, weight, bias if biased else None, targets, smoothing)
    torch.testing.assert_close(got, expected, atol=0, rtol=1e-6)
    for one, other in zip(gradients(got, *given), gradients(expected, *given), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6 * float(other.abs().max()), rtol=1e-6)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_bfloat16_autocast_is_as_near_to_float32_as_plain_cross_entropy(smoothing: float) -> None:
    hidden, weight, bias, targets = inputs()
    exact = plain(hidden, weight, bias, targets, smoothing)
    with torch.autocast("cpu", torch.bfloat16):
        reference = plain(hidden, weight, bias, targets, smoothing)
        got = cross_entropy.linear_cross_entropy(hidden, weight, bias, targets, smoothing)
    assert got.dtype == torch.float32
    wanted = [exact, *gradients(exact, hidden, weight, bias)]
    plainly = [reference, *gradients(reference, hidden, weight, bias)]
    chunked = [got, *gradients(got, hidden, weight, bias)]
    for one, other, true in zip(chunked, plainly, wanted, strict=True):
        assert one.dtype == true.dtype
        one, other, true = one.detach(), other.detach(), true.detach()
        assert float((one - true).norm()) <= 1.2 * float((other - true).norm()) + 1e-3 * float(true.norm())


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("rows", [5, 37])
def test_scores_of_any_kind_equal_plain_cross_entropy(rows: int, smoothing: float) -> None:
    hidden, weight, bias, targets = inputs(rows)
    calls = []

    def score(states: Tensor) -> Tensor:
        calls.append(len(states))
        return 3 * torch.tanh(functional.linear(states, weight, bias) / 3)

    got = cross_entropy.scored_cross_entropy(score, hidden, targets, smoothing)
    found = gradients(got, hidden, weight, bias)
    assert max(calls) <= 6
    expected = functional.cross_entropy(score(hidden), targets, reduction="sum", label_smoothing=smoothing)
    torch.testing.assert_close(got, expected, atol=0, rtol=1e-6)
    for one, other in zip(found, gradients(expected, hidden, weight, bias), strict=True):
        torch.testing.assert_close(one, other, atol=1e-6 * float(other.abs().max()), rtol=1e-6)
    with torch.no_grad():
        torch.testing.assert_close(cross_entropy.scored_cross_entropy(score, hidden, targets, smoothing), expected)


@pytest.mark.parametrize("native", [True, False])
def test_tied_and_frozen_tables(monkeypatch: pytest.MonkeyPatch, native: bool) -> None:
    if not native:
        monkeypatch.delattr(nn, "LinearCrossEntropyOptions", raising=False)
    _, weight, _, targets = inputs()

    def both(loss: Callable[..., Tensor], table: Tensor, states: Tensor | None = None) -> Tensor:
        hidden = functional.embedding(targets.flip(0), table).tanh() if states is None else states
        return loss(hidden, table, None, targets, 0.0)

    (got,) = gradients(both(cross_entropy.linear_cross_entropy, weight), weight)
    (expected,) = gradients(both(plain, weight), weight)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)
    hidden, frozen = inputs()[0], weight.detach()
    (got,) = gradients(both(cross_entropy.linear_cross_entropy, frozen, hidden), hidden)
    (expected,) = gradients(both(plain, frozen, hidden), hidden)
    torch.testing.assert_close(got, expected, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_no_rows_and_no_gradient(smoothing: float) -> None:
    hidden, weight, bias, targets = inputs(0)
    loss = cross_entropy.linear_cross_entropy(hidden, weight, bias, targets, smoothing)
    assert float(loss.detach()) == 0.0
    assert not any(bool(g.any()) for g in gradients(loss, hidden, weight, bias))
    other = cross_entropy.scored_cross_entropy(lambda h: h @ weight.t(), hidden, targets, smoothing)
    assert float(other.detach()) == 0.0
    hidden, weight, bias, targets = inputs()
    with torch.no_grad():
        loss = cross_entropy.linear_cross_entropy(hidden, weight, bias, targets, smoothing)
    assert not loss.requires_grad
    torch.testing.assert_close(loss, plain(hidden, weight, bias, targets, smoothing))


def test_a_second_backward_pass_is_refused_not_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    hidden, weight, bias, targets = inputs()
    loss = cross_entropy.linear_cross_entropy(hidden, weight, bias, targets, 0.1)
    loss.backward(retain_graph=True)
    with pytest.raises(RuntimeError) as caught:
        loss.backward()
    assert str(caught.value) == "the cross-entropy's gradients were used up by an earlier backward pass"


def peak_bytes(work: Callable[[], Any]) -> int:
    """Most bytes that torch's CPU allocator held beyond what it held before."""
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as recorded:
        work()
    kineto = recorded.profiler
    assert kineto is not None
    assert kineto.kineto_results is not None
    events = [event for event in kineto.kineto_results.events() if event.name() == "[memory]"]
    held = highest = 0
    for event in sorted(events, key=lambda event: event.start_ns()):
        held += event.nbytes()
        highest = max(highest, held)
    return highest


@pytest.mark.parametrize("kind", ["native", "chunked", "smoothed", "bfloat16", "scored"])
def test_memory_is_flat_from_16k_to_128k(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    monkeypatch.setattr(cross_entropy, "_SCORES", {"cpu": 2**19})
    monkeypatch.setattr(cross_entropy, "_TILE", 2048)
    if kind == "chunked":
        monkeypatch.delattr(nn, "LinearCrossEntropyOptions", raising=False)
    rows, dim = 64, 4

    def peak(size: int, loss: Callable[..., Tensor]) -> int:
        hidden, weight, _, targets = inputs(rows, size, dim)

        def work() -> None:
            with torch.autocast("cpu", torch.bfloat16, enabled=kind == "bfloat16"):
                loss(hidden, weight, None, targets, 0.1 if kind == "smoothed" else 0.0).backward()

        return peak_bytes(work) - weight.numel() * 4  # the table's own gradient

    def chunked(hidden: Tensor, weight: Tensor, bias: Tensor | None, targets: Tensor, smoothing: float) -> Tensor:
        if kind != "scored":
            return cross_entropy.linear_cross_entropy(hidden, weight, bias, targets, smoothing)
        score = lambda states: functional.linear(states, weight)  # noqa: E731
        return cross_entropy.scored_cross_entropy(score, hidden, targets, smoothing)

    small, large = peak(2**14, chunked), peak(2**17, chunked)
    assert large <= 1.2 * small
    assert peak(2**17, plain) > 8 * peak(2**14, plain) * 0.9  # what the profiler sees of the plain loss
