"""The ``tune`` section: which values of a spec are searched, in which ranges, and how. Imports no torch."""

import json
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from mmkit.spec.strict import Strict

Numbers = tuple[float, float]
Whole = tuple[int, int]


def label(value: Any) -> str:
    """A choice as text: equal texts are equal choices."""
    return json.dumps(value, sort_keys=True, default=str)


class Range(Strict):
    """The values that one place of the spec may take: one of these."""

    uniform: Numbers | None = Field(None, description="Numbers between two bounds.")
    log_uniform: Numbers | None = Field(None, description="The same, drawn on a logarithmic scale.")
    int: Whole | None = Field(None, description="Whole numbers from the first to the second, both included.")
    log_int: Whole | None = Field(None, description="The same, drawn on a logarithmic scale.")
    choice: list[Any] | None = Field(None, min_length=2, description="Any values: numbers, words, lists, mappings.")

    @model_validator(mode="after")
    def _one(self) -> "Range":
        given = [name for name in type(self).model_fields if getattr(self, name) is not None]
        if len(given) != 1:
            wanted = ", ".join(type(self).model_fields)
            raise ValueError(f"give one of {wanted}, got: {', '.join(given) or 'none'}")
        if self.choice is not None:
            double = [text for text in self.labels if self.labels.count(text) > 1]
            if double:
                raise ValueError(f"choice has {double[0]} twice")
            return self
        low, high = self.bounds
        if low >= high:
            raise ValueError(f"the lower bound comes first and is smaller, got [{low:g}, {high:g}]")
        if given[0].startswith("log") and low <= 0:
            raise ValueError(f"a logarithmic scale begins above 0, got [{low:g}, {high:g}]")
        return self

    @property
    def bounds(self) -> Numbers:
        """The least and the greatest number; not for a choice."""
        found = self.uniform or self.log_uniform or self.int or self.log_int
        assert found is not None
        return found

    @property
    def labels(self) -> list[str]:
        """The choices as text."""
        return [label(value) for value in self.choice or ()]

    @property
    def ends(self) -> list[Any]:
        """Every choice, or both bounds."""
        return list(self.bounds) if self.choice is None else list(self.choice)

    def has(self, value: Any) -> bool:
        """Whether a value of the spec lies in the range."""
        if self.choice is not None:
            return label(value) in self.labels
        whole = self.int is not None or self.log_int is not None
        if isinstance(value, bool) or not isinstance(value, int if whole else int | float):
            return False
        return self.bounds[0] <= value <= self.bounds[1]


class Tune(Strict):
    """The search of ``mmkit tune``; ``mmkit train`` takes no notice of it. `tune: {PATH: RANGE}` is short for its `space`."""

    space: dict[str, Range] = Field(
        description='Path in the spec → its range, for example `"train.stages[0].lr": {log_uniform: [1.0e-4, 1.0e-2]}`.',
        min_length=1,
    )
    metric: str | None = Field(
        None, description="`task.metric` or `loss`, on data.valid; default: that of train.keep_best, else loss."
    )
    mode: Literal["min", "max"] | None = Field(
        None, description="Default: min for losses and error rates, else max, as in keep_best."
    )
    trials: int = Field(20, gt=0, description="Trials, those that were stopped early or failed included.")
    seed: int = Field(0, ge=0, description="Seed of the values that are tried; each trial trains with train.seed.")
    pruner: Literal["median", "none"] = Field(
        "median",
        description="median: stop a trial whose best evaluation is worse than the median of the others' by then.",
    )
    prune_after: int = Field(5, gt=0, description="Complete trials before one is stopped early.")


def _spelt_out(value: Any) -> Any:
    if isinstance(value, dict) and not set(value) & set(Tune.model_fields):
        return {"space": value}
    return value


TuneSection = Annotated[Tune, BeforeValidator(_spelt_out, json_schema_input_type=Tune | dict[str, Range])]
"""The whole section, or its ``space`` alone."""
