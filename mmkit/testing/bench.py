"""Small components of the kit's own, among which the one under test is put: no other plugin needs to be installed.

They are offered by the plugin ``bench``, which only ``registry()`` knows.
"""

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mmkit.discovery.loader import discover
from mmkit.errors import SampleError
from mmkit.interfaces import (
    Backbone,
    Batch,
    BuildContext,
    ContinuousAdapter,
    DecodingState,
    Encoder,
    Item,
    Loss,
    Metric,
    Processor,
    Scores,
    SoftAdapter,
    TaskHead,
    VocabularyAdapter,
)
from mmkit.interfaces.codec import streams_of
from mmkit.ragged import Ragged, cat
from mmkit.registry.component import Component
from mmkit.registry.registry import PluginReport, Registry


def registry() -> Registry:
    """What is installed, and the components of this module."""
    bench = PluginReport("bench", "mmkit", "?", "loaded", _COMPONENTS)
    return Registry((*discover().reports, bench))


class Numbers(Processor):
    """A list of numbers, four a row."""

    strings_are_paths = False
    deterministic = True

    def __call__(self, raw: Any) -> Item:
        """``rows``: Float["rows 4"]."""
        if not isinstance(raw, list) or not raw:
            raise SampleError("wanted a list of numbers")
        rows = torch.tensor([float(value) for value in raw])
        return {"rows": nn.functional.pad(rows, (0, -len(raw) % 4)).view(-1, 4)}

    def num_features(self, item: Item) -> int:
        """One a row."""
        return item["rows"].shape[0]

    def collate(self, items: Sequence[Item]) -> Batch:
        """``rows``: Ragged."""
        return {"rows": Ragged.of([item["rows"] for item in items])}


class NumbersEncoder(Encoder):
    """One linear layer a row."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.feature_dim = dim
        self.layer = nn.Linear(4, dim)

    def processor(self) -> Numbers:
        """Of lists of numbers."""
        return Numbers()

    def forward(self, batch: Batch) -> Ragged:
        """Float["rows dim"]."""
        rows = batch["rows"]
        assert isinstance(rows, Ragged)
        return rows.replace(self.layer(rows.values))


class Linear(SoftAdapter):
    """One linear layer a row."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.out_dim = out_dim
        self.layer = nn.Linear(in_dim, out_dim)

    def num_tokens(self, num_features: int) -> int:
        """As many."""
        return num_features

    def forward(self, features: Ragged) -> Ragged:
        """Float["total in_dim"] → Float["total out_dim"]."""
        return features.replace(self.layer(features.values))


class Letters(VocabularyAdapter):
    """Lower-case words; begin 0, end 1."""

    alphabet = " abcdefghijklmnopqrstuvwxyz"
    size, begin_id, end_id = len(alphabet) + 2, 0, 1

    def encode(self, raw: Any) -> list[int]:
        """One id a letter; others are left out."""
        if not isinstance(raw, str):
            raise SampleError(f"text must be a str, got {type(raw).__name__}")
        return [self.alphabet.index(letter) + 2 for letter in raw.lower() if letter in self.alphabet]

    def decode(self, ids: Sequence[int]) -> str:
        """The letters."""
        return "".join(self.alphabet[i - 2] for i in ids if i >= 2)


class Quads(ContinuousAdapter):
    """Eight numbers as two vectors of four."""

    length, dim = 2, 4

    def encode(self, raw: Any) -> Tensor:
        """As they are."""
        if not isinstance(raw, list) or len(raw) != 8 or not all(isinstance(value, int | float) for value in raw):
            raise SampleError(f"wanted a list of 8 numbers, got {type(raw).__name__}")
        return torch.tensor(raw, dtype=torch.float32).view(2, 4)

    def decode(self, vectors: Tensor) -> list[float]:
        """As they are."""
        return [float(value) for value in vectors.flatten().tolist()]


class _State(DecodingState):
    def __init__(self, hidden: Tensor) -> None:
        self.hidden = hidden

    def reorder(self, items: Tensor) -> "_State":
        return _State(self.hidden[:, items])


class Recurrent(Backbone):
    """A GRU, one item after another."""

    generates = True

    def __init__(self, vocabulary_size: int, dim: int) -> None:
        super().__init__()
        self.token_dim = self.hidden_dim = dim
        self.table = nn.Embedding(max(1, vocabulary_size), dim)
        self.layer = nn.GRU(dim, dim, batch_first=True)
        self.out = nn.Linear(dim, max(1, vocabulary_size))

    def embed(self, ids: Tensor) -> Tensor:
        """A row of the table."""
        return self.table(ids)

    def forward(self, prompt: Ragged, target: Ragged | None = None) -> Ragged:
        """Hidden states of the prompt, or of the target after it."""
        both = prompt if target is None else _joined(prompt, target)
        states = Ragged.of([self.layer(item[None])[0][0] for item in both.split()])
        if target is None:
            return states
        return Ragged.of([item[-n:] if n else item[:0] for item, n in zip(states.split(), target.sizes, strict=True)])

    def logits(self, hidden: Tensor) -> Tensor:
        """A linear layer."""
        return self.out(hidden)

    def prefill(self, prompt: Ragged) -> _State:
        """The state after the prompts."""
        return _State(torch.cat([self.layer(item[None])[1] for item in prompt.split()], dim=1))

    def step(self, state: DecodingState, tokens: Tensor) -> Tensor:
        """One token more."""
        assert isinstance(state, _State)
        out, state.hidden = self.layer(tokens[:, None], state.hidden)
        return out[:, 0]


class Number(TaskHead):
    """One number: the mean of its rows through a linear layer."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.layer = nn.Linear(dim, 1)

    def target(self, raw: Any) -> Tensor:
        """The number."""
        if isinstance(raw, bool) or not isinstance(raw, int | float):
            raise SampleError(f"wanted a number, got {type(raw).__name__}")
        return torch.tensor([float(raw)])

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Squared error."""
        return Loss((self._read(features) - targets.values).square().sum(), len(targets))

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """The numbers."""
        return self._read(features).tolist()

    def metrics(self) -> list[Metric]:
        """None."""
        return []

    def _read(self, features: Sequence[Ragged]) -> Tensor:
        return self.layer(torch.stack([item.mean(0) for item in features[0].split()]))[:, 0]


class Spell(TaskHead):
    """The output column's ids, one after another."""

    autoregressive = True

    def __init__(self, vocabulary: VocabularyAdapter) -> None:
        super().__init__()
        self.vocabulary = vocabulary

    def target(self, raw: Any) -> Tensor:
        """Its ids and the end: as many end ids as are predicted at once."""
        return torch.tensor([*self.vocabulary.encode(raw), *[self.vocabulary.end_id] * streams_of(self.vocabulary)])

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Cross-entropy."""
        scores = features[0]
        assert isinstance(scores, Scores)
        return Loss(scores.cross_entropy(targets), sum(targets.sizes))

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """The decoded values."""
        return [self.vocabulary.decode(ids.tolist()) for ids in features[0].split()]

    def options(self) -> dict[str, Any]:
        """Short."""
        return {"max_new_tokens": 6}

    def metrics(self) -> list[Metric]:
        """None."""
        return []


class Write(TaskHead):
    """The output column's vectors, all at once: the mean of its rows through a linear layer."""

    def __init__(self, dim: int, continuous: ContinuousAdapter) -> None:
        super().__init__()
        self.continuous = continuous
        self.layer = nn.Linear(dim, continuous.length * continuous.dim)

    def target(self, raw: Any) -> Tensor:
        """Its vectors, laid end to end."""
        return self.continuous.encode(raw).flatten()

    def loss(self, features: Sequence[Ragged], targets: Ragged) -> Loss:
        """Squared error."""
        return Loss((self._read(features) - targets.values.view(len(targets), -1)).square().sum(), len(targets))

    def predict(self, features: Sequence[Ragged]) -> list[Any]:
        """The decoded values."""
        shape = (self.continuous.length, self.continuous.dim)
        return [self.continuous.decode(row.view(shape)) for row in self._read(features).cpu()]

    def metrics(self) -> list[Metric]:
        """None."""
        return []

    def _read(self, features: Sequence[Ragged]) -> Tensor:
        return self.layer(torch.stack([item.mean(0) for item in features[0].split()]))


def _joined(prompt: Ragged, target: Ragged) -> Ragged:
    pairs = zip(prompt.split(), target.split(), strict=True)
    return cat([Ragged.of([torch.cat(pair)]) for pair in pairs])


def _encoder(context: BuildContext, *, dim: int) -> NumbersEncoder:
    return NumbersEncoder(dim)


def _adapter(context: BuildContext, *, dim: int) -> Linear:
    return Linear(context.in_dim, context.out_dim)


def _vocabulary(context: BuildContext, *, dim: int) -> Letters:
    return Letters()


def _continuous(context: BuildContext, *, dim: int) -> Quads:
    return Quads()


def _backbone(context: BuildContext, *, dim: int) -> Recurrent:
    return Recurrent(context.vocabulary_size, dim)


def _number(context: BuildContext, *, dim: int) -> Number:
    return Number(context.dims[0])


def _spell(context: BuildContext, *, dim: int) -> Spell:
    assert context.vocabulary is not None
    return Spell(context.vocabulary)


def _write(context: BuildContext, *, dim: int) -> Write:
    assert context.continuous is not None
    return Write(context.dims[0], context.continuous)


def _record(kind: str, name: str, builder: str, **more: Any) -> Component:
    config = "mmkit.testing.bench_config:BenchConfig"
    about = "Of the conformance kit."
    return Component(kind, name, about, f"{__name__}:{builder}", config, plugin="bench", **more)


_COMPONENTS = (
    _record("encoder", "bench-numbers", "_encoder", modality="numbers"),
    _record("adapter", "bench-linear", "_adapter"),
    _record("vocabulary", "bench-letters", "_vocabulary", modality="text"),
    _record("backbone", "bench-recurrent", "_backbone", generates=True),
    _record("head", "bench-number", "_number"),
    _record("continuous", "bench-quads", "_continuous", modality="numbers"),
    _record("head", "bench-write", "_write", continuous=True),
    _record("head", "bench-spell", "_spell", autoregressive=True, spells=True),
)
