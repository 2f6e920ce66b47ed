"""The command line and the closing lines of every data script."""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

from recipes.common.cache import made_once, recipe_folder
from recipes.common.errors import RecipeError


def main(name: str, version: str, make: Callable[[Path], None], about: str) -> Path:
    """``python -m recipes.<name>.prepare [--force]``: make the recipe's folder once, print what is in it."""
    parser = argparse.ArgumentParser(prog=f"python -m recipes.{name}.prepare", description=about)
    parser.add_argument("--force", action="store_true", help="make the data anew though it is in the cache")
    force = parser.parse_args().force
    try:
        folder, new = made_once(recipe_folder(name), version, make, force=force)
    except RecipeError as error:
        raise SystemExit(f"{name}: {error}") from None
    print(f"{name}: {'made' if new else 'in the cache'}: {folder}")
    for path in sorted(folder.glob("baseline.json")):
        print(json.dumps(json.loads(path.read_text("utf-8")), indent=1, ensure_ascii=False))
    return folder
