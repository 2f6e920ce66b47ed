"""Finite scalar quantisation beside the formulas of the paper."""

import numpy as np
import torch
from mmkit_audio.fsq import Fsq

LEVELS = [8, 5, 5, 5]


def paper(rows: np.ndarray, levels: list[int]) -> np.ndarray:
    """Listing 1 of Mentzer et al. 2023, with the inverse of tanh for the shift."""
    steps = np.asarray(levels)
    half = (steps - 1) * (1 - 1e-3) / 2
    offset = np.where(steps % 2 == 1, 0.0, 0.5)
    bounded = np.tanh(rows + np.arctanh(offset / half)) * half - offset
    return np.round(bounded) / (steps // 2)


def drawn(rows: int = 500, width: int = 4) -> torch.Tensor:
    return 2 * torch.randn(rows, width, generator=torch.Generator().manual_seed(0))


def test_rounds_as_the_paper_does() -> None:
    rows = drawn()
    assert np.allclose(Fsq(LEVELS)(rows).numpy(), paper(rows.double().numpy(), LEVELS), atol=1e-6)


def test_every_code_becomes_a_row_and_a_code_again() -> None:
    for codebooks in (1, 3):
        fsq = Fsq(LEVELS, codebooks)
        codes = torch.arange(fsq.codes)[:, None].expand(-1, codebooks)
        rows = fsq.rows(codes)
        assert len(rows.unique(dim=0)) == fsq.codes == 1000
        assert torch.equal(fsq.numbers(rows), codes)


def test_each_codebook_of_a_group_rounds_numbers_of_its_own() -> None:
    rows = drawn(width=12)
    fsq, alone = Fsq(LEVELS, 3, "group"), Fsq(LEVELS)
    quantised = fsq(rows)
    assert (fsq.width, fsq.quantised, fsq.codes) == (12, 12, 1000)
    assert torch.equal(quantised, torch.cat([alone(part) for part in rows.split(4, 1)], 1))
    assert torch.equal(fsq.numbers(quantised), torch.cat([alone.numbers(part) for part in quantised.split(4, 1)], 1))
    assert torch.allclose(fsq.rows(fsq.numbers(quantised)), quantised, atol=1e-6)


def test_numbers_are_those_of_what_forward_gives() -> None:
    fsq = Fsq([7, 4, 3], codebooks=2)
    quantised = fsq(drawn(width=3))
    codes = fsq.numbers(quantised)
    assert int(codes.min()) >= 0
    assert int(codes.max()) < 84
    assert torch.allclose(fsq.rows(codes), quantised, atol=1e-6)


def test_all_codes_are_used_where_rows_are_spread() -> None:
    assert len(Fsq([5, 4])(drawn(5000, 2)).unique(dim=0)) == 20


def test_gradient_is_that_without_rounding() -> None:
    rows = drawn().requires_grad_()
    fsq = Fsq([5, 5, 5, 5])
    fsq(rows).sum().backward()
    expected = (1 - torch.tanh(rows.detach()) ** 2) * (2 * (1 - 1e-3)) / 2
    assert rows.grad is not None
    assert torch.allclose(rows.grad, expected, atol=1e-5)


def test_each_further_codebook_divides_the_error() -> None:
    rows = drawn()
    bounded = torch.tanh(rows) * 2 * (1 - 1e-3)
    parts = Fsq([5, 5, 5, 5], codebooks=3)(rows).view(500, 3, 4)
    sums = [2 * parts[:, 0], parts[:, 1] / 2, parts[:, 2] / 10]
    errors = [float((bounded - sum(sums[: n + 1])).abs().max()) for n in range(3)]
    assert errors[0] <= 0.5
    assert errors[1] <= 0.1 + 1e-5
    assert errors[2] <= 0.02 + 1e-5


def test_two_levels_part_at_zero() -> None:
    """The paper's shift of an even number of levels is the inverse of tanh of more than 1 here: not a number."""
    fsq, rows = Fsq([2, 2], codebooks=2), drawn(width=2)
    quantised = fsq(rows)
    codes = fsq.numbers(quantised)
    assert torch.equal(codes[:, 0] % 2, (rows[:, 0] > 0).long())
    assert codes.unique(dim=0).shape == (16, 2)
    assert torch.equal(fsq.rows(codes), quantised)
