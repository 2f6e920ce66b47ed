"""What ``mmkit.explain`` gives: numbers, and a page that shows them."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from mmkit.explaining.flat import flat
from mmkit.model.rendering import is_plain


@dataclass(frozen=True)
class Part:
    """One tensor of a column.

    Attributes:
        key: ``embedded`` of ids, ``features`` of an encoder that reads no real numbers, else the tensor's name in the
            encoder's batch, such as ``pixels``.
        value: what the model read.
        attribution: what each element adds to the score; of ids, one number an id.
        pieces: what is written for every id.
        item: which of the column's items it is of.
    """

    key: str
    value: Tensor
    attribution: Tensor
    pieces: tuple[str, ...] = ()
    item: int = 0


@dataclass(frozen=True)
class Column:
    """A column of the input.

    Attributes:
        kind: what plugins call its kind of value. raw: as it was given.
        share: of the sum of all absolute attributions. shapley: what the whole column adds to the score, averaged over all
            orders in which the columns are added; None where there are more than ten.
        reader: the modality's processor or vocabulary. items: what a processor made of the column's values.
    """

    name: str
    modality: str
    kind: str
    raw: Any
    parts: tuple[Part, ...]
    share: float
    shapley: float | None
    reader: Any = field(default=None, repr=False)
    items: tuple[Any, ...] = field(default=(), repr=False)

    @property
    def attribution(self) -> float:
        """What the column adds to the score by integrated gradients."""
        return sum(float(part.attribution.sum()) for part in self.parts)


@dataclass(frozen=True)
class Output:
    """A part of the answer that has a score of its own: an id of a generated one.

    Attributes:
        attribution: column → what each element adds to this score, a tensor for each of the column's parts; empty where it
            was not asked for.
    """

    text: str
    score: float
    attribution: Mapping[str, tuple[Tensor, ...]]


@dataclass(frozen=True)
class Attention:
    """Where a transformer looked. It says what was read, not what decided (Jain & Wallace 2019).

    Attributes:
        layers, heads: whose weights are in it.
        columns: column → its parts, first by ``rollout``, then by ``relevance``; ``attribution`` is one number an id, or one
            for each row of the encoder's features. Where an adapter mixes those rows, it is one number a token, and
            ``pieces`` are the tokens' numbers.
        rollout: column → its share of the attention rollout (Abnar & Zuidema 2020). With ``rest`` they add up to one.
        relevance: column → its share of attention × gradient (Chefer et al. 2021).
        rest: ``template``, ``answer`` (what of it was there already) and ``other`` → shares by rollout and by relevance.
    """

    layers: int
    heads: int
    columns: Mapping[str, tuple[Part, ...]]
    rollout: Mapping[str, float]
    relevance: Mapping[str, float]
    rest: Mapping[str, tuple[float, float]]


@dataclass(frozen=True)
class Explanation:
    """Why a model gave an answer.

    Attributes:
        answer: that is explained. words: what the score is.
        score, baseline: of the sample, and of one whose columns are all at their baseline: zero, or for ids the begin id.
        error: sum of all attributions, less ``score - baseline``; 0 with infinitely many steps.
        columns: of the input, in its order. outputs: the parts of the score. attention: where it was asked for.
    """

    task: str
    answer: Any
    words: str
    score: float
    baseline: float
    error: float
    steps: int
    columns: tuple[Column, ...]
    outputs: tuple[Output, ...]
    attention: Attention | None = None

    def __getitem__(self, column: str) -> Column:
        """A column by name."""
        return next(one for one in self.columns if one.name == column)

    @property
    def modalities(self) -> dict[str, float]:
        """Modality → its share of the sum of all absolute attributions."""
        found: dict[str, float] = {}
        for column in self.columns:
            found[column.modality] = found.get(column.modality, 0.0) + column.share
        return found

    @property
    def shapley(self) -> dict[str, float]:
        """Modality → share of the sum of its columns' absolute Shapley values (MM-SHAP, Parcalabescu & Frank 2023); empty
        where these were not computed."""
        sizes = {one.name: abs(one.shapley) for one in self.columns if one.shapley is not None}
        whole, found = sum(sizes.values()), dict[str, float]()
        for column in self.columns if sizes else ():
            found[column.modality] = found.get(column.modality, 0.0) + (sizes[column.name] / whole if whole else 0.0)
        return found

    def to_json(self) -> dict[str, Any]:
        """All numbers as plain values; of tensors with more than two axes, the map that is drawn."""
        return {
            "task": self.task,
            "answer": self.answer if is_plain(self.answer) else None,
            "explained": self.words,
            "score": self.score,
            "baseline": self.baseline,
            "completeness_error": self.error,
            "steps": self.steps,
            "modalities": self.modalities,
            "modalities_shapley": self.shapley,
            "columns": {column.name: _column(column) for column in self.columns},
            "outputs": [
                {
                    "text": one.text,
                    "score": one.score,
                    "attribution": {name: [_map(part) for part in parts] for name, parts in one.attribution.items()},
                }
                for one in self.outputs
            ],
            **({"attention": _attention(self.attention)} if self.attention is not None else {}),
        }

    def html(self) -> str:
        """A page that needs no other file.

        Raises:
            MmkitError: Matplotlib is not installed. PluginError: a plugin's drawing fails.
        """
        from mmkit.explaining.page import page

        return page(self)

    def png(self) -> bytes:
        """One picture of everything, 1200 pixels wide, as a PNG.

        Raises:
            MmkitError: Matplotlib is not installed. PluginError: a plugin's drawing fails.
        """
        from mmkit.explaining.picture import picture

        return picture(self)


def _column(column: Column) -> dict[str, Any]:
    return {
        "modality": column.modality,
        "share": column.share,
        "attribution": column.attribution,
        "shapley": column.shapley,
        "parts": [_part(part) for part in column.parts],
    }


def _part(part: Part) -> dict[str, Any]:
    return {
        "of": part.key,
        "shape": list(part.attribution.shape),
        "attribution": _map(part.attribution),
        **({"pieces": list(part.pieces)} if part.pieces else {}),
    }


def _attention(given: Attention) -> dict[str, Any]:
    return {
        "layers": given.layers,
        "heads": given.heads,
        "rollout": dict(given.rollout),
        "relevance": dict(given.relevance),
        "rest": {name: {"rollout": first, "relevance": second} for name, (first, second) in given.rest.items()},
        "columns": {name: [_part(part) for part in parts] for name, parts in given.columns.items()},
    }


def _map(attribution: Tensor) -> list[Any]:
    numbers: list[Any] = (attribution if attribution.dim() == 1 else flat(attribution)).tolist()
    return numbers
