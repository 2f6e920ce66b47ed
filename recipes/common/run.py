"""One command a recipe: data, training, evaluation on held-out rows, reloading, and the table beside the baseline."""

import argparse
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recipes.common.cache import cache_root, made_once, recipe_folder, write_json
from recipes.common.errors import RecipeError
from recipes.common.weights import WEIGHTS

RECIPES = Path(__file__).parent.parent


@dataclass(frozen=True)
class Figure:
    """One line of a recipe's table: ``metric`` of ``task``, beside ``baseline.json[baseline][of]``."""

    task: str
    metric: str
    baseline: str
    of: str = ""


@dataclass(frozen=True)
class Variant:
    """One spec of a recipe and the figures it is judged by."""

    spec: str
    figures: Sequence[Figure]


def run(
    name: str,
    version: str,
    make: Callable[[Path], None],
    variants: Sequence[Variant],
    weights: Sequence[str] = (),
) -> list[dict[str, Any]]:
    """The whole command line of ``python -m recipes.<name>``; what ``trained`` gave for each spec."""
    parser = argparse.ArgumentParser(prog=f"python -m recipes.{name}", description=f"Run the recipe {name!r}.")
    specs = [variant.spec for variant in variants]
    parser.add_argument("--only", choices=specs, nargs="*", default=specs, help="the specs to run; default: all")
    parser.add_argument("--seed", type=int, default=0, help="seed of weights, order and dropout")
    options = parser.parse_args()
    try:
        link(name, made_once(recipe_folder(name), version, make)[0], [WEIGHTS[one]() for one in weights])
    except RecipeError as error:
        raise SystemExit(f"{name}: {error}") from None
    use_all_cores()
    baselines = json.loads((recipe_folder(name) / "baseline.json").read_text("utf-8"))
    given = []
    for variant in variants:
        if variant.spec in options.only:
            given.append(trained(name, variant.spec, options.seed))
            print_table(name, variant, given[-1], baselines)
    return given


def data_of(prepare: Any) -> Path:
    """The folder that a recipe's ``prepare`` module makes, made where it is not there."""
    return made_once(recipe_folder(prepare.NAME), prepare.VERSION, prepare.make)[0]


def link(name: str, data: Path, weights: Sequence[Path] = (), codec: Path | None = None) -> None:
    """Show the cache beside the specs, as ``data`` and ``weights``, so that they need no path of this machine; and the folder
    of another recipe's model as ``codec``."""
    wanted = {"data": data, **({"weights": cache_root() / "weights"} if weights else {})}
    wanted |= {"codec": codec} if codec is not None else {}
    for shown, target in wanted.items():
        path = RECIPES / name / shown
        if path.is_symlink():
            path.unlink()
        path.symlink_to(target.resolve(), target_is_directory=True)


def folder_of(name: str, data: Callable[[], Path]) -> Path:
    """The folder of another recipe's model, which is trained where it is not there, on what ``data`` then gives."""
    folder = Path("runs") / name / "spec-0"
    if not (folder / "spec.json").is_file():
        import mmkit

        link(name, data())
        mmkit.train(RECIPES / name / "spec.yaml", output=folder, seed=0)
    return folder


def use_all_cores() -> int:
    """Let torch use every core this process may run on; how many."""
    import torch

    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(cores)
    return cores


def trained(name: str, spec: str, seed: int) -> dict[str, Any]:
    """Train one spec, evaluate, save, reload, predict again; the results, also written to ``runs/``."""
    import mmkit
    from mmkit.testing.compare import difference

    output = Path("runs") / name / f"{Path(spec).stem}-{seed}"
    started = time.monotonic()
    model = mmkit.train(RECIPES / name / spec, output=output, seed=seed)
    seconds = time.monotonic() - started
    results = mmkit.evaluate(model)
    first, again = mmkit.evaluate(model, limit=16), mmkit.evaluate(mmkit.load(output), limit=16)
    figures = {task: result.metrics for task, result in results.items()}
    same = not any(difference(result.predictions, first[task].predictions, 0.0) for task, result in again.items())
    answers = {
        task: [
            {"prediction": plain(prediction), "reference": plain(reference), "row": address}
            for prediction, reference, address in zip(
                result.predictions[:20], result.references[:20], result.addresses[:20], strict=True
            )
        ]
        for task, result in results.items()
    }
    given = {
        "spec": spec,
        "seed": seed,
        "train_seconds": round(seconds),
        "parameters": sum(p.numel() for p in model.parameters()),
        "reloaded_predicts_the_same": same,
        "metrics": figures,
        "answers": answers,
    }
    write_json(output / "results.json", given)
    return given


def plain(value: Any) -> Any:
    """An answer as JSON holds it; a picture, a sound or a file in a few words."""
    if isinstance(value, dict):
        return {name: plain(part) for name, part in value.items()}
    if isinstance(value, bytes):
        return f"({len(value):,} bytes)"
    if hasattr(value, "size") and hasattr(value, "mode"):
        return f"(picture of {value.size[0]} × {value.size[1]})"
    if hasattr(value, "shape"):
        return f"(array of {' × '.join(map(str, value.shape))})"
    return str(value) if isinstance(value, Path) else value


def print_table(name: str, variant: Variant, given: dict[str, Any], baselines: dict[str, Any]) -> None:
    """The figures, as the rows of the table in the recipe's README."""
    print(
        f"\n{name}/{variant.spec}: {given['parameters']:,} parameters, seed {given['seed']}, "
        f"trained {given['train_seconds']} s; reloaded, it predicts the same: {given['reloaded_predicts_the_same']}"
    )
    print("| task | metric | value | baseline | what the baseline does |\n|---|---|---|---|---|")
    for figure in variant.figures:
        value = given["metrics"][figure.task][figure.metric]
        base = baselines[figure.baseline][figure.of or figure.metric]
        print(f"| {figure.task} | {figure.metric} | {value:.4g} | {base:.4g} | {figure.baseline} |")
    for task, answers in given["answers"].items():
        for one in answers[:4]:
            if one["reference"] is not None:
                print(f"  {task}: {_shown(one['prediction'])!r}, reference {one['reference']!r}")


def _shown(prediction: Any) -> Any:
    """A class without its probabilities, anything else as it is."""
    return prediction.get("label", prediction) if isinstance(prediction, dict) else prediction
