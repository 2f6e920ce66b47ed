"""The Python API as Markdown: signatures and docstrings, read from the source without running it."""

import ast
import inspect
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import mmkit

API_HEAD = """# Python API

Every public name: `import mmkit`, then `mmkit.NAME`. Importing `mmkit` does not import torch; names that need it import
it on first use. Shapes are written as [jaxtyping](https://docs.kidger.site/jaxtyping/) annotations:
`Float[Tensor, "items dim"]`.

"""
GROUPS = {
    "Using a model": ["build", "check", "train", "tune", "evaluate", "load", "Model", "plugins"],
    "Writing a plugin": [
        *("Component", "Config", "LocalPath", "hookimpl", "BuildContext", "Processor", "Encoder", "SoftAdapter"),
        *(
            "VocabularyAdapter",
            "Backbone",
            "DecodingState",
            "TaskHead",
            "Scores",
            "Loss",
            "Metric",
            "Fittable",
            "HasAssets",
        ),
        *("Item", "Batch", "Ragged", "api_version"),
    ],
    "Hooks": [
        *(
            "Command",
            "ReportSection",
            "Evaluation",
            "Renderer",
            "Migration",
            "RowSource",
            "SourceContext",
            "RunContext",
        ),
    ],
    "Errors": [
        *("MmkitError", "SpecError", "Problem", "PluginError", "DataError", "SampleError", "CheckpointError"),
        "TrainingError",
    ],
}
RETURNED = {
    "NodeReport": "mmkit.wiring.check",
    "TaskResult": "mmkit.training.evaluate",
    "PluginReport": "mmkit.registry.registry",
    "TrialResult": "mmkit.tuning.study",
    "TuneResult": "mmkit.tuning.run",
}


Definition = ast.ClassDef | ast.FunctionDef | ast.Assign | ast.AnnAssign


def api_page() -> str:
    """Every public name, in groups."""
    listed = [name for names in GROUPS.values() for name in names]
    groups = {**GROUPS, "Further names": sorted(set(mmkit.__all__) - set(listed))}
    parts = [API_HEAD]
    for title, names in groups.items():
        parts += [f"## {title}\n"] if names else []
        for name in names:
            parts += documented(name, "mmkit")
    parts.append("## What the functions return\n\nRecords that have no name in `mmkit` itself.\n")
    for name, module in RETURNED.items():
        parts += documented(name, module)
    return "\n".join(parts)


def plain(text: str) -> str:
    """reStructuredText's double backticks as Markdown's."""
    return text.replace("``", "`")


def documented(name: str, module: str) -> list[str]:
    """A heading, the signature, the docstring, and the members of a class."""
    node, text = define(name, module)
    if isinstance(node, ast.Assign) and isinstance(node.value, ast.Name):
        target, text = define(node.value.id, module)
        node.value = target.value if isinstance(target, ast.Assign | ast.AnnAssign) and target.value else node.value
    if not isinstance(node, ast.ClassDef | ast.FunctionDef):
        return [f"### {name}\n", fence(ast.unparse(node)), *prose(text), ""]
    if isinstance(node, ast.FunctionDef):
        return [f"### {name}\n", fence(signature(node, f"mmkit.{name}")), *prose(text), ""]
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    parts = [f"### {name}\n", fence(constructor(node) or f"class {name}({bases})"), *prose(text)]
    for member in node.body:
        if isinstance(member, ast.FunctionDef) and (member.name == "__call__" or not member.name.startswith("_")):
            parts += [fence(signature(member, member.name)), *prose(ast.get_docstring(member) or "")]
    return [*parts, ""]


def define(name: str, module: str) -> tuple[Definition, str]:
    """The definition of a name, followed through imports, and its docstring."""
    spec = find_spec(module)
    if spec is None or spec.origin is None:
        raise LookupError(f"there is no module {module}")
    tree = ast.parse(Path(spec.origin).read_text("utf-8"))
    for number, node in enumerate(tree.body):
        if isinstance(node, ast.ClassDef | ast.FunctionDef) and node.name == name:
            return node, ast.get_docstring(node) or ""
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in _targets(node):
            return node, docstring_after(tree.body[number + 1 : number + 2])
    for found in ast.walk(tree):
        if isinstance(found, ast.ImportFrom) and any((alias.asname or alias.name) == name for alias in found.names):
            return define(name, str(found.module))
    raise LookupError(f"{name} is not defined in {module}")


def _targets(node: ast.Assign | ast.AnnAssign) -> list[str]:
    targets = [node.target] if isinstance(node, ast.AnnAssign) else node.targets
    return [target.id for target in targets if isinstance(target, ast.Name)]


def docstring_after(nodes: list[ast.stmt]) -> str:
    """The string that stands below an assignment."""
    for node in nodes:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
            return inspect.cleandoc(str(node.value.value))
    return ""


def constructor(node: ast.ClassDef) -> str:
    """How a dataclass is made, or nothing."""
    if not any("dataclass" in ast.unparse(decorator) for decorator in node.decorator_list):
        return ""
    fields = [ast.unparse(field) for field in node.body if isinstance(field, ast.AnnAssign)]
    fields = [
        f.replace("field(default_factory=dict)", "{}").replace("field(default_factory=list)", "[]") for f in fields
    ]
    return wrapped(f"mmkit.{node.name}" if node.name in mmkit.__all__ else node.name, fields, "")


def signature(node: ast.FunctionDef, name: str) -> str:
    """``name(arguments) -> result``, with what decorates it."""
    marks = [ast.unparse(decorator) for decorator in node.decorator_list]
    shown = "".join(f"@{mark.removeprefix('cached_')}\n" for mark in marks if mark != "staticmethod")
    arguments = node.args
    if arguments.args and arguments.args[0].arg in ("self", "cls"):
        arguments.args = arguments.args[1:]
    pieces = list(_arguments(arguments))
    result = f" -> {ast.unparse(node.returns)}" if node.returns else ""
    if "property" in marks or "cached_property" in marks:
        return f"{shown}{name}{result.replace(' -> ', ': ')}"
    return shown + wrapped(name, pieces, result)


def _arguments(given: ast.arguments) -> Iterator[str]:
    defaults = [None] * (len(given.args) - len(given.defaults)) + list(given.defaults)
    for argument, default in zip(given.args, defaults, strict=True):
        yield ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")
    if given.kwonlyargs and not given.vararg:
        yield "*"
    for argument, default in zip(given.kwonlyargs, given.kw_defaults, strict=True):
        yield ast.unparse(argument) + (f" = {ast.unparse(default)}" if default else "")
    if given.kwarg:
        yield f"**{ast.unparse(given.kwarg)}"


def wrapped(name: str, pieces: list[str], result: str) -> str:
    """On one line where it fits, else one piece a line."""
    line = f"{name}({', '.join(pieces)}){result}"
    return line if len(line) <= 100 else f"{name}(\n" + "".join(f"    {piece},\n" for piece in pieces) + f"){result}"


def fence(code: str) -> str:
    """Highlighted, and marked as code that is not run."""
    plainer = re.sub(r"(?<=[:>] )'([^']*)'(?= = |[,)\n]|$)", r"\1", code)  # quoted since it is defined later
    return "```py\n" + plainer.replace("'", '"') + "\n```\n"


def prose(docstring: str) -> list[str]:
    """A docstring as Markdown; its sections (Args, Raises …) as lists."""
    lines: list[str] = []
    section = False
    for line in plain(docstring).splitlines():
        heading = re.fullmatch(r"(Args|Attributes|Raises|Returns):", line)
        if heading:
            section = True
            lines += [f"{heading[1]}:", ""]
        elif section and re.match(r" {4}\S", line):
            lines.append(re.sub(r"^([\w, ]+): ", r"- `\1`: ", line.strip()) if ":" in line else f"- {line.strip()}")
        elif section and line.strip():
            lines[-1] += " " + line.strip()
        else:
            section = False
            lines.append(line)
    text = "\n".join(lines).strip()
    return [text + "\n"] if text else []
