"""``Padded``: what stands for a ``Ragged`` while a graph is exported."""

import pytest
import torch
from torch import nn
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmkit.ragged import NeedsLengthsError, Padded, Ragged
from mmkit.recurrent import padded_recurrent


@pytest.fixture
def rows() -> Padded:
    return Padded(torch.arange(24.0).view(2, 3, 4), torch.tensor([3, 1]))


def test_padded_is_a_ragged_that_keeps_its_padding(rows: Padded) -> None:
    assert isinstance(rows, Ragged)
    padded, mask = rows.to_padded(-1.0)
    assert mask.tolist() == [[True] * 3, [True, False, False]]
    assert padded[1, 1:].unique().tolist() == [-1.0]
    assert torch.equal(rows.replace(rows.values + 1).unpad(rows.values).values, rows.values)
    assert rows.positions().tolist() == [[0, 1, 2]] * 2
    assert rows.segments().tolist() == [[0] * 3, [1] * 3]
    whole = Padded.equal(rows.values)
    assert whole.full
    assert whole.lengths.tolist() == [3, 3]


@pytest.mark.parametrize(
    ("ask", "what"),
    [
        (lambda rows: rows.sizes, "Ragged.sizes"),
        (lambda rows: rows.offsets, "Ragged.offsets"),
        (lambda rows: rows.split(), "Ragged.split"),
        (lambda rows: rows.select([0]), "Ragged.select"),
        (len, "len(ragged), where lengths.shape[0] would do"),
        (lambda rows: rows.to_padded(side="left"), "padding on the left"),
    ],
)
def test_lengths_as_numbers_are_refused(rows: Padded, ask: object, what: str) -> None:
    with pytest.raises(NeedsLengthsError) as caught:
        ask(rows)  # type: ignore[operator]
    assert str(caught.value) == f"it asks for {what}, and an exported graph is for any lengths"


def test_equal_items_are_packed_outside_of_graphs() -> None:
    ragged = Ragged.equal(torch.arange(12.0).view(3, 2, 2))
    assert not isinstance(ragged, Padded)
    assert ragged.sizes == [2, 2, 2]


@pytest.mark.parametrize("kind", [nn.LSTM, nn.GRU])
@pytest.mark.parametrize("both", [False, True])
@torch.no_grad()
def test_padded_recurrent_is_the_packed_one(kind: type[nn.LSTM | nn.GRU], both: bool) -> None:
    torch.manual_seed(0)
    layers = kind(4, 5, 2, batch_first=True, bidirectional=both)
    x, lengths = torch.randn(3, 6, 4), torch.tensor([6, 1, 4])
    packed = pack_padded_sequence(x, lengths, batch_first=True, enforce_sorted=False)
    wanted, _ = pad_packed_sequence(layers(packed)[0], batch_first=True)
    got = padded_recurrent(layers, Padded(x, lengths)).to_padded()[0]
    torch.testing.assert_close(got, wanted, atol=1e-6, rtol=1e-6)


def test_padded_recurrent_refuses_projections() -> None:
    layers = nn.LSTM(4, 5, batch_first=True, proj_size=2)
    with pytest.raises(TypeError) as caught:
        padded_recurrent(layers, Padded(torch.zeros(1, 2, 4), None))
    assert str(caught.value) == "LSTM layers of this kind cannot be exported; LSTM and GRU without proj_size can"
