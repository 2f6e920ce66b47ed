"""TaskHead: hidden states or features → loss, prediction, metrics."""

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from jaxtyping import Float
from torch import Tensor, nn

from mmkit.ragged import Ragged


@dataclass(frozen=True)
class Loss:
    """A summed loss and the number of targets it was summed over (tokens, labels, pairs …)."""

    total: Float[Tensor, ""]
    count: int


@runtime_checkable
class Metric(Protocol):
    """Collects predictions and references over a whole evaluation, then gives named numbers."""

    def update(self, predictions: Sequence[Any], references: Sequence[Any]) -> None:
        """Add a batch."""

    def compute(self) -> dict[str, float]:
        """The figures over everything added; names are the field's standard ones (``bleu``, ``wer`` …)."""


@runtime_checkable
class RowMetric(Protocol):
    """A metric that also wants columns of the rows, such as the caption that a generated picture has to show.

    Attributes:
        row_columns: names of the columns. A row that lacks one is a bad row.
    """

    row_columns: Sequence[str]

    def update(self, predictions: Sequence[Any], references: Sequence[Any], rows: Sequence[Mapping[str, Any]]) -> None:
        """Add a batch; each of ``rows`` has the wanted columns, paths of media resolved."""

    def compute(self) -> dict[str, float]:
        """As ``Metric.compute``."""


@runtime_checkable
class Explainable(Protocol):
    """A head whose answer ``mmkit explain`` can lead back to the inputs. Autoregressive heads need not say it."""

    def asked(self, target: Any) -> tuple[str, Any]:
        """What is explained, in words, and what ``score`` is given for it.

        Args:
            target: as the user names it, such as a label; or, where the user names none, a prediction of ``predict``.

        Raises:
            SampleError: the head has no such answer.
        """

    def score(self, features: Sequence[Ragged], wanted: Any) -> Float[Tensor, " items"]:
        """One differentiable number a sample, more of it where the answer is held more."""


class TaskHead(nn.Module, ABC):
    """One task.

    Attributes:
        autoregressive: the head's targets are ids fed back into a generating backbone (teacher forcing); it
            then learns from ``Scores``.
        couples_samples: the loss of a sample depends on the others of its batch (negatives of a contrastive loss), so that
            it has no gradient of its own; private training refuses it.
        reads_count: how many nodes it reads (2 for a contrastive head).
        draws: predictions are random; ``predict`` then also takes ``seeds``, one a sample, and ``options`` gives the ``seed``
            of all that have none. The same seed gives the same prediction, alone and in a batch.
        input_dropout: how often a training sample's columns are left out of its prompt, so that the model also knows
            the prompt without them (classifier-free guidance, Ho & Salimans 2022).
        embeds: it also gives the embedding of one node alone, by ``embed_one``.
    """

    autoregressive: bool = False
    couples_samples: bool = False
    reads_count: int = 1
    draws: bool = False
    input_dropout: float = 0.0
    embeds: bool = False

    @abstractmethod
    def target(self, raw: Any) -> Tensor:
        """The target of one sample from its output column: Int["n"] or Float["n"]. Runs in a data worker, where the
        head has no weights.

        For an autoregressive head: ids with the end id, without the begin id.

        Raises:
            SampleError: the value is not a legal target (for example a label the spec does not list).
        """

    @abstractmethod
    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """The loss of a batch, one item of each ``features`` and of ``targets`` a sample.

        An autoregressive head is given ``[scores]``, a ``Scores``: hidden states of target positions that know how they
        are scored. ``scores.cross_entropy(targets)`` never holds all scores.
        """

    @abstractmethod
    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """One prediction a sample. Autoregressive heads get token ids of the finished sequences instead."""

    def outputs(self, features: Sequence[Ragged]) -> Mapping[str, Tensor | Ragged]:
        """The tensors that ``predict`` decides from, by name, one item a sample: for programs that take tensors
        (transformers, ONNX). An autoregressive head has none; another that has none cannot be exported."""
        raise TypeError(f"{type(self).__name__} gives no tensors")

    def options(self) -> Mapping[str, Any]:
        """Decoding options of an autoregressive head: max_new_tokens, beams, temperature, top_k, top_p,
        guidance, seed."""
        return {}

    def answer_schema(self) -> Mapping[str, Any]:
        """JSON Schema of a prediction, for programs that are to read it; empty where there is nothing to say."""
        return {}

    def embed_one(self, place: int, features: Ragged) -> Float[Tensor, "items dim"]:
        """Embeddings of items of the node at this place of ``reads``, without the other nodes; of a head that ``embeds``."""
        raise NotImplementedError

    @abstractmethod
    def metrics(self) -> list[Metric]:
        """Fresh metric objects; predictions are those of ``predict``, references raw output columns."""
