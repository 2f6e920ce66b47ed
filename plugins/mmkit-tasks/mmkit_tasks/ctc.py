"""Connectionist temporal classification (Graves et al. 2006): the output column spelt along an encoder's rows."""

from collections.abc import Sequence
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.rnn import pack_padded_sequence, pad_packed_sequence

from mmkit import (
    BuildContext,
    Loss,
    Metric,
    Padded,
    PluginError,
    Ragged,
    SampleError,
    TaskHead,
    VocabularyAdapter,
    padded_recurrent,
)
from mmkit_tasks.ctc_decode import greedy, prefix_beam
from mmkit_tasks.metrics import text_metrics


class Recurrent(nn.Module):
    """GRU or LSTM layers in both directions over packed sequences: an item is the same alone and in a batch."""

    def __init__(self, kind: str, in_dim: int, dim: int, layers: int, dropout: float) -> None:
        super().__init__()
        between = dropout if layers > 1 else 0.0
        make = nn.GRU if kind == "gru" else nn.LSTM
        self.rnn = make(in_dim, dim, layers, batch_first=True, bidirectional=True, dropout=between)

    def forward(self, rows: Ragged) -> Ragged:
        """Float["total in_dim"] → Float["total 2*dim"]."""
        if isinstance(rows, Padded):
            return padded_recurrent(self.rnn, rows)
        padded, _ = rows.to_padded()
        if padded.shape[1] == 0:
            padded = rows.values.new_zeros(len(rows), 1, rows.values.shape[1])
        packed = pack_padded_sequence(padded, rows.lengths.clamp(min=1), batch_first=True, enforce_sorted=False)
        states, _ = pad_packed_sequence(self.rnn(packed)[0], batch_first=True)
        return Ragged.from_padded(states, rows.lengths)


class Ctc(TaskHead):
    """Scores of every id and a blank at each row. Targets need no begin or end id.

    The loss of a sample is its negative log-likelihood divided by the length of its target; a batch sums over
    samples, which are what is counted (the ``mean`` reduction of ``torch.nn.CTCLoss``).
    """

    def __init__(
        self,
        dim: int,
        vocabulary: VocabularyAdapter,
        blank: str,
        projection: int | None,
        rnn: tuple[str, int, int],
        dropout: float,
        zero_infinity: bool,
        beams: int,
        metric_names: Sequence[str],
    ) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.blank = vocabulary.size if blank == "last" else 0
        self.shift = 0 if blank == "last" else 1
        self.zero_infinity, self.beams, self.metric_names = zero_infinity, beams, list(metric_names)
        self.projection = nn.Sequential(nn.Linear(dim, projection), nn.GELU()) if projection else nn.Identity()
        width = projection or dim
        kind, rnn_layers, rnn_dim = rnn
        self.recurrent = Recurrent(kind, width, rnn_dim, rnn_layers, dropout) if rnn_layers else nn.Identity()
        self.dropout = nn.Dropout(dropout)
        self.output = nn.Linear(2 * rnn_dim if rnn_layers else width, vocabulary.size + 1)

    def target(self, raw: Any) -> Int[Tensor, " n"]:
        """Ids of the value; may be empty."""
        return torch.tensor(self.vocabulary.encode(raw), dtype=torch.int64)

    def log_probabilities(self, features: Ragged) -> Ragged:
        """Float["total size+1"] in float32, one row a feature row; the blank is the last or the first class."""
        rows = self.recurrent(features.replace(self.projection(features.values)))
        return rows.replace(self.output(self.dropout(rows.values)).float().log_softmax(-1))

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Summed over samples.

        Raises:
            SampleError: targets are too long for their inputs, unless ``zero_infinity``.
        """
        if not self.zero_infinity:
            _check_fits(features[0], targets)
        padded, _ = self.log_probabilities(features[0]).to_padded()
        if padded.shape[1] == 0:
            padded = padded.new_zeros(len(targets), 1, self.vocabulary.size + 1)
        losses = functional.ctc_loss(
            padded.transpose(0, 1),
            targets.values + self.shift,
            features[0].lengths,
            targets.lengths,
            blank=self.blank,
            reduction="none",
            zero_infinity=self.zero_infinity,
        )
        return Loss((losses / targets.lengths.clamp(min=1).to(losses.device)).sum(), len(targets))

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """Decode each sample: the likeliest class of every row, or a prefix beam search."""
        rows = self.log_probabilities(features[0])
        if self.beams == 1:
            found = greedy(rows, self.blank)
        else:
            found = [prefix_beam(item, self.blank, self.beams) for item in rows.to("cpu").split()]
        return [self.vocabulary.decode([i - self.shift for i in ids]) for ids in found]

    def outputs(self, features: Sequence[Ragged]) -> dict[str, Tensor | Ragged]:
        """``log_probabilities``: Ragged of Float["rows size+1"]."""
        return {"log_probabilities": self.log_probabilities(features[0])}

    def metrics(self) -> list[Metric]:
        """Those of the config; by default word and character error rate."""
        return text_metrics(self.metric_names)


def _check_fits(features: Ragged, targets: Ragged) -> None:
    """A path needs a row for every id and one between equal neighbours.

    Target ids are looked at only where the lengths alone do not settle it, so that an ordinary batch asks the
    device for nothing.
    """
    short = []
    offsets = targets.offsets
    for index, (rows, ids) in enumerate(zip(features.sizes, targets.sizes, strict=True)):
        need = ids
        if ids <= rows < 2 * ids - 1:
            item = targets.values[offsets[index] : offsets[index + 1]]
            need = ids + int((item[1:] == item[:-1]).sum())
        if rows < need:
            short.append((index, rows, ids, need))
    if short:
        index, rows, ids, need = short[0]
        raise SampleError(
            f"head 'ctc': {len(short)} of {len(targets)} samples have more target ids than their input can spell; the "
            f"first is sample {index} of its batch: {rows} feature rows, {ids} ids that need at least {need}; use an "
            "encoder or adapter that shortens less, a vocabulary with longer units, or head.zero_infinity: true to "
            "leave such samples out of the loss"
        )


def build(
    context: BuildContext,
    *,
    blank: str,
    projection: int | None,
    rnn: str,
    rnn_layers: int,
    rnn_dim: int,
    dropout: float,
    zero_infinity: bool,
    beams: int,
    metrics: list[str],
) -> Ctc:
    """A CTC head over the node it reads."""
    if context.vocabulary is None:
        raise PluginError("head 'ctc': its output column is not of a vocabulary modality; see columns in the task")
    recurrent = (rnn, rnn_layers, rnn_dim)
    return Ctc(
        context.dims[0], context.vocabulary, blank, projection, recurrent, dropout, zero_infinity, beams, metrics
    )
