"""What a component is tried on. Imports no torch."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from mmkit.registry.component import Component


@dataclass(frozen=True)
class Case:
    """One way to use a component, small enough that a check takes a fraction of a second.

    Attributes:
        config: options, as a spec gives them, or a function that makes files in a folder and returns options.
        raws: (encoder, vocabulary, head) at least two legal raw values, of different sizes where they have one, or a
            function that makes them in a folder. Of a head: values of the output column. Default: the component's
            own ``example()``. Of a metric: pairs of a prediction and a reference, or triples with the row's columns.
        bad: (encoder, vocabulary, head) values that have to be refused with ``SampleError``, beside those that the kit
            knows itself (``None``, an object of a foreign class).
        spec: an example spec that is built, trained one step, saved, loaded and asked. Default: the component among
            small ones of the kit. rows: samples for it, columns by name.
        same: (vocabulary, head) whether two values are equal; default: ``==``.
        tolerance: largest difference that counts as equal, in float32.
        waive: name of a check → why the component is not held to it. The reason is printed with every scorecard.
        name: tells several cases of one component apart.
        features: (head) rows of every node it reads, where it reads just so many; default: other numbers a sample.
    """

    config: Mapping[str, Any] | Callable[[Path], Mapping[str, Any]] = field(default_factory=dict)
    raws: Sequence[Any] | Callable[[Path], Sequence[Any]] = ()
    bad: Sequence[Any] | Callable[[Path], Sequence[Any]] = ()
    spec: Mapping[str, Any] | None = None
    rows: Sequence[Mapping[str, Any]] = ()
    same: Callable[[Any, Any], bool] | None = None
    tolerance: float = 1e-5
    waive: Mapping[str, str] = field(default_factory=dict)
    name: str = ""
    features: int = 0


def cases_of(component: Component) -> list[Case]:
    """The cases that a component's record names, or one with the defaults of its config.

    Raises:
        TypeError, ValueError: what the record names gives something else, or no case.
    """
    if not component.cases:
        return [Case()]
    module, _, attribute = component.cases.partition(":")
    cases = list(getattr(import_module(module), attribute)())
    if not cases or not all(isinstance(case, Case) for case in cases):
        raise TypeError(f"{component.cases} has to return a list of mmkit.testing.Case, got {cases!r}")
    names = [case.name for case in cases]
    if len(set(names)) < len(names):
        raise ValueError(f"{component.cases}: cases of one component have different names, got {names}")
    return cases
