"""Read YAML, JSON or a dict, remembering the place of every key; caps against alias bombs and deep nesting."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from mmkit.errors import Problem, SpecError

MAX_BYTES = 500_000
MAX_DEPTH = 40
MAX_NODES = 20_000

Location = tuple[str | int, ...]


@dataclass
class Source:
    """Raw spec data with the file it came from and the place of each key."""

    data: Any
    root: Path
    file: str = ""
    marks: dict[Location, tuple[int, int]] = field(default_factory=dict)

    def problem(self, location: Location, message: str, fix: str = "") -> Problem:
        """A problem at this place, or at the nearest enclosing one that has a line."""
        line = column = 0
        for end in range(len(location), -1, -1):
            if location[:end] in self.marks:
                line, column = self.marks[location[:end]]
                break
        return Problem(dotted(location), message, fix, self.file, line, column)


def dotted(location: Location) -> str:
    """``("stages", 0, "lr")`` → ``stages[0].lr``."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else (f".{part}" if text else part)
    return text


def read_source(spec: "str | os.PathLike[str] | Mapping[str, Any] | Source", root: Path | None = None) -> Source:
    """A path to a YAML/JSON file, or a mapping, as a ``Source``; one that is read already as it is.

    Raises:
        SpecError: the file is missing, too large, not UTF-8, not YAML, or its nesting is hostile.
    """
    if isinstance(spec, Source):
        return spec
    if isinstance(spec, Mapping):
        source = Source(None, root or Path.cwd())
        source.data = _Plain(source).convert(spec, ())
        return source
    path = Path(spec)
    source = Source(None, root or path.resolve().parent, str(spec))
    try:
        raw = path.read_bytes()
    except OSError as error:
        fix = "give the path of a YAML or JSON file"
        raise SpecError([Problem("", f"cannot read {path}: {error.strerror}", fix)]) from None
    if len(raw) > MAX_BYTES:
        raise SpecError([source.problem((), f"the file has {len(raw):,} bytes; at most {MAX_BYTES:,} are read")])
    try:
        node = yaml.compose(raw.decode("utf-8"), Loader=_CappedLoader)
    except UnicodeDecodeError as error:
        raise SpecError([source.problem((), f"not UTF-8 text: {error.reason} at byte {error.start}")]) from None
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        what = getattr(error, "problem", None) or str(error).partition("\n")[0]
        message = what if isinstance(error, _TooMuch) else f"not valid YAML: {what}"
        raise SpecError([Problem("", message, "", str(spec), *place)]) from None
    if node is not None:
        source.data = _Converter(source).convert(node, ())
    return source


class _TooMuch(yaml.MarkedYAMLError):
    """A cap is passed."""


class _CappedLoader(yaml.SafeLoader):
    """Stops at the caps while it reads: a hostile file costs no more time than a large honest one."""

    depth = nodes = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        self.depth += 1
        self.nodes += 1
        if self.depth > MAX_DEPTH + 1 or self.nodes > MAX_NODES:
            raise _TooMuch(problem=_too_much(self.nodes), problem_mark=self.peek_event().start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


def _too_much(nodes: int) -> str:
    if nodes > MAX_NODES:
        return f"more than {MAX_NODES:,} values, those of aliases included"
    return f"nested deeper than {MAX_DEPTH} levels"


class _Counter:
    """Counts values and levels while aliases and shared objects are written out."""

    def __init__(self, source: Source) -> None:
        self.source = source
        self.nodes = 0

    def count(self, location: Location) -> None:
        self.nodes += 1
        if self.nodes > MAX_NODES or len(location) > MAX_DEPTH:
            raise SpecError([self.source.problem(location[:3], _too_much(self.nodes))])


class _Plain(_Counter):
    """A mapping given from Python → dicts and lists with plain keys."""

    def convert(self, value: Any, location: Location) -> Any:
        self.count(location)
        if isinstance(value, Mapping):
            for key in value:
                if not isinstance(key, str):
                    raise SpecError([self.source.problem((*location, str(key)), f"a key must be a str, got {key!r}")])
            return {key: self.convert(child, (*location, key)) for key, child in value.items()}
        if isinstance(value, list | tuple):
            return [self.convert(child, (*location, index)) for index, child in enumerate(value)]
        return value


class _Converter(_Counter):
    """YAML nodes → values, with the place of each."""

    def __init__(self, source: Source) -> None:
        super().__init__(source)
        self.scalars = yaml.SafeLoader("")

    def convert(self, node: yaml.Node, location: Location) -> Any:
        self.source.marks.setdefault(location, (node.start_mark.line + 1, node.start_mark.column + 1))
        self.count(location)
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.convert(child, (*location, index)) for index, child in enumerate(node.value)]
        try:
            return self.scalars.construct_object(node)
        except (yaml.YAMLError, ValueError) as error:
            message = f"not a plain value: {getattr(error, 'problem', None) or error}"
            raise SpecError([self.source.problem(location, message)]) from None

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, child in node.value:
            key = key_node.value if isinstance(key_node, yaml.ScalarNode) else None
            place = (*location, key or "?")
            self.source.marks[place] = (key_node.start_mark.line + 1, key_node.start_mark.column + 1)
            if key is None:
                raise SpecError([self.source.problem(place, "a key must be a plain word")])
            if key in result:
                raise SpecError([self.source.problem(place, "the key is given twice", "keep one of them")])
            result[key] = self.convert(child, place)
        return result
