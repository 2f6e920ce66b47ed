"""What ``tune`` would try: the places of its paths, the specs at the ends of its ranges, and what is wrong with them."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from mmkit.errors import Problem, SpecError
from mmkit.registry.registry import Registry
from mmkit.spec.load import Location, Source, dotted
from mmkit.spec.paths import get, parse_path, put
from mmkit.spec.tune import Range
from mmkit.wiring.graph import Plan
from mmkit.wiring.planner import plan


@dataclass(frozen=True)
class Dimension:
    """One path of the search space.

    Attributes:
        written: where the section has it. own: the value that the spec has there now, defaults included.
    """

    path: str
    location: Location
    range: Range
    written: Location
    own: Any

    @property
    def first(self) -> Any:
        """The value of the first trial: the spec's own where it lies in the range."""
        return self.own if self.range.has(self.own) else self.range.ends[0]


def dimensions(planned: Plan) -> list[Dimension]:
    """The search space of a spec.

    Raises:
        SpecError: every path that is none, leads nowhere, or lies inside another one.
    """
    section = planned.spec.tune
    problems: list[Problem] = []
    found: list[Dimension] = []
    inside: Location = ("tune", "space") if get(planned.source.data, ("tune", "space")) else ("tune",)
    for path, values in section.space.items() if section else ():
        written = (*inside, path)
        try:
            location = parse_path(path)
            if location[:1] == ("tune",):
                raise ValueError("is a setting of the search itself")
            put(planned.source, location, values.ends[0], written)
        except ValueError as error:
            problems.append(planned.source.problem(written, f"{path!r}: {error}"))
            continue
        for other in found:
            short = min(len(location), len(other.location))
            if location[:short] == other.location[:short]:
                message = f"{path!r} and {other.path!r} lie one inside the other; tune one of them"
                problems.append(planned.source.problem(written, message))
        found.append(Dimension(path, location, values, written, _own(planned, location)))
    if problems:
        raise SpecError(problems)
    return found


def _own(planned: Plan, location: Location) -> Any:
    for placed in (*planned.placed(), *planned.beside.values()):
        size = len(placed.location)
        if placed.location == location[:size] and location[size:] not in ((), ("use",)):
            return get(placed.config.model_dump(), location[size:])
    written = get(planned.source.data, location)
    return get(planned.spec.model_dump(), location) if written is None else written


def variant(source: Source, space: list[Dimension], values: Mapping[str, Any]) -> Source:
    """The spec with these values, by path, in place of its own, and without ``tune``.

    Raises:
        ValueError: a path leads nowhere.
    """
    for dimension in space:
        source = put(source, dimension.location, values[dimension.path], dimension.written)
    return replace(source, data={key: value for key, value in source.data.items() if key != "tune"})


def check_ends(planned: Plan, registry: Registry, *, static: bool) -> None:
    """Check the first trial's spec, and one for each end of each range and each choice, all else as in the first.

    Args:
        static: without torch; else dimensions and globs too, where the value may change them.

    Raises:
        SpecError: every problem of all of them.
    """
    space = dimensions(planned)
    if not space:
        return
    first = {one.path: one.first for one in space}
    tries = [(first, static)]
    for one in space:
        number = all(isinstance(end, int | float) for end in one.range.ends)
        light = static or (number and one.location[0] in ("train", "data"))
        tries += [({**first, one.path: end}, light) for end in one.range.ends if end != one.first]
    problems: dict[tuple[str, str], Problem] = {}
    for values, light in tries:
        for problem in _problems(variant(planned.source, space, values), registry, light):
            message = f"{problem.message} (when tune sets {_cause(problem, space, values, first)})"
            problems.setdefault((problem.path, problem.message), replace(problem, message=message))
    if problems:
        raise SpecError(list(problems.values()))


def _cause(problem: Problem, space: list[Dimension], values: Mapping[str, Any], first: Mapping[str, Any]) -> str:
    """The value at the place of the problem; else the one that differs from the first trial; else all of them."""
    there = [one.path for one in space if problem.path.startswith(dotted(one.location))]
    moved = [path for path in values if values[path] != first[path]]
    return setting({path: values[path] for path in there or moved or values})


def setting(values: Mapping[str, Any]) -> str:
    """``backbone.dim = 64, train.stages[0].lr = 0.001``."""
    return ", ".join(f"{path} = {short(value)}" for path, value in values.items())


def short(value: Any) -> str:
    """A value as tables and messages show it."""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _problems(source: Source, registry: Registry, static: bool) -> tuple[Problem, ...]:
    from mmkit.wiring.check import check

    try:
        check(plan(source, registry), static=static, registry=registry)
    except SpecError as error:
        return error.problems
    return ()
