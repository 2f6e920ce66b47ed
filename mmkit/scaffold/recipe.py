"""``mmkit new recipe``: a folder with a spec, a program that makes its data, a page for the result, and a test."""

import json
import shlex
from pathlib import Path

from mmkit.discovery import discover
from mmkit.scaffold.names import check_recipe
from mmkit.scaffold.plugin import shown_path
from mmkit.scaffold.render import Made, render
from mmkit.wiring.schema import json_schema

SCHEMA = "mmkit.schema.json"


def new_recipe(name: str, *, output: Path | None = None) -> Made:
    """Write a recipe that trains as it is, with the schema of the installed plugins for editors.

    Args:
        output: its folder, new or empty; default: ``NAME`` in the working folder.

    Raises:
        MmkitError: a name that is not allowed, a folder that is taken, or copier is missing.
    """
    check_recipe(name)
    folder = Path.cwd() / (output or name)
    files = render("recipe", folder, {"name": name, "identifier": name.replace("-", "_")})
    (folder / SCHEMA).write_text(json.dumps(json_schema(discover()), indent=2) + "\n", "utf-8")
    shown = shown_path(folder)
    return Made(
        folder=folder,
        files=(*files, SCHEMA),
        what=f"{name}: a recipe",
        commands=(
            f"cd {shlex.quote(shown)}",
            "python prepare.py",
            "mmkit train spec.yaml",
            f"mmkit evaluate runs/{name}",
            "pytest",
        ),
        yours=f"rows in {Path(shown) / 'prepare.py'}, then {Path(shown) / 'spec.yaml'}",
    )
