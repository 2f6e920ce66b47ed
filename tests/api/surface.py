"""The promised surface as text, one line a fact: what plugins and programs are written against.

``python -m tests.api.surface`` writes ``surface_vN.txt`` for this plugin API. It refuses what would break things written against
it, which needs a new ``API_VERSION``; ``--break`` is for an API that no release has promised yet.
"""

import ast
import sys
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path

import mmkit
from docs.signatures import define, signature
from mmkit.registry.component import API_VERSION, KINDS

HERE = Path(__file__).parent
HOOKS = HERE.parents[1] / "mmkit" / "discovery" / "hookspecs.py"
MORE = {"Case": "mmkit.testing", "Conformance": "mmkit.testing"}
"""Public names of other modules."""


def pinned(version: int) -> Path:
    """The file of one plugin API."""
    return HERE / f"surface_v{version}.txt"


def surface() -> list[str]:
    """Every public name with its fields and signatures, every hook, every kind."""
    names = [(name, "mmkit") for name in mmkit.__all__] + list(MORE.items())
    lines = [line for name, module in names for line in described(name, module)]
    lines += [f"kind {kind}" for kind in KINDS]
    lines += [f"hook {one_line(hook)}" for hook in hooks(HOOKS.read_text("utf-8"))]
    return sorted(lines)


def hooks(code: str) -> Iterator[ast.FunctionDef]:
    """Functions that are marked with ``@hookspec``."""
    for node in ast.parse(code).body:
        if isinstance(node, ast.FunctionDef):
            marks = [mark.func if isinstance(mark, ast.Call) else mark for mark in node.decorator_list]
            if any(isinstance(mark, ast.Name) and mark.id == "hookspec" for mark in marks):
                node.decorator_list = []
                yield node


def described(name: str, module: str) -> Iterator[str]:
    """A name, and the fields and public methods of a class."""
    node, _ = define(name, module)
    if isinstance(node, ast.FunctionDef):
        yield one_line(node)
    elif isinstance(node, ast.ClassDef):
        yield f"class {name}({', '.join(map(ast.unparse, node.bases))})"
        yield from members(name, node)
    else:
        yield f"{name}: int" if name == "api_version" else ast.unparse(node)


def members(name: str, node: ast.ClassDef) -> Iterator[str]:
    """Fields of a dataclass are numbered, since they may be given by position."""
    numbers = count()
    numbered = any("dataclass" in ast.unparse(mark) for mark in node.decorator_list)
    for member in node.body:
        if isinstance(member, ast.AnnAssign) and not ast.unparse(member.target).startswith("_"):
            place = f"[{next(numbers)}] " if numbered else "."
            yield f"{name}{place}{ast.unparse(member)}"
        if isinstance(member, ast.FunctionDef) and (member.name in ("__init__", "__call__") or member.name[0] != "_"):
            yield f"{name}.{one_line(member)}"


def one_line(node: ast.FunctionDef) -> str:
    """``@abstractmethod encode(raw: Any) -> list[int]``."""
    return " ".join(signature(node, node.name).split()).replace("( ", "(").replace(", )", ")")


def breaking(before: Sequence[str], after: Sequence[str]) -> list[str]:
    """Lines that are gone, and methods that a subclass written earlier does not have."""
    known = {line.partition("(")[0] for line in before if line.startswith("class ")}
    new = [line for line in after if line not in before and ".@abstractmethod" in line]
    gone = [f"gone: {line}" for line in before if line not in after]
    return gone + [f"has to be written: {line}" for line in new if f"class {line.partition('.')[0]}" in known]


def main() -> None:
    """Write the file of this API."""
    path, lines = pinned(API_VERSION), surface()
    before = path.read_text("utf-8").splitlines() if path.is_file() else []
    broken = breaking(before, lines)
    if broken and "--break" not in sys.argv[1:]:
        raise SystemExit("\n  ".join([f"this would break plugin API {API_VERSION}:", *broken]))
    path.write_text("\n".join(lines) + "\n", "utf-8")
    print(f"{path.name}: {len(set(lines) - set(before))} lines added, {len(set(before) - set(lines))} dropped")


if __name__ == "__main__":
    main()
