import pytest
import torch

from mmkit.ragged import Ragged, cat


@pytest.mark.parametrize("side", ["left", "right"])
def test_padding_round_trip_keeps_every_row(side: str) -> None:
    ragged = Ragged.of([torch.randn(3, 2), torch.randn(0, 2), torch.randn(5, 2)])
    padded, mask = ragged.to_padded(side=side)
    back = Ragged.from_padded(padded, ragged.lengths, side=side)
    assert padded.shape == (3, 5, 2)
    assert mask.sum() == 8
    assert torch.equal(back.values, ragged.values)


def test_lengths_that_do_not_add_up_are_refused() -> None:
    with pytest.raises(ValueError, match="^lengths add up to 5 rows, values have 4$"):
        Ragged(torch.zeros(4, 2), torch.tensor([2, 3]))


def test_positions_restart_and_segments_count() -> None:
    ragged = Ragged.of([torch.zeros(2), torch.zeros(3)])
    assert ragged.positions().tolist() == [0, 1, 0, 1, 2]
    assert ragged.segments().tolist() == [0, 0, 1, 1, 1]
    assert cat([ragged, ragged]).sizes == [2, 3, 2, 3]
    assert ragged.select([1, 0]).sizes == [3, 2]
