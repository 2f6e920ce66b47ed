"""The demo: prepare real data, train one model for four tasks, and a small one that draws and speaks; compare with baselines,
save, reload, report.

``python -m recipes.quickstart.run`` (or ``make demo``) needs the packages of ``requirements/demo.txt`` and no network.
"""

import json
import time
from pathlib import Path
from typing import Any

from markupsafe import Markup
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

import mmkit
from mmkit.wiring.svg import to_svg
from recipes.common.cache import made_once, read_jsonl, recipe_folder, write_json
from recipes.common.errors import RecipeError
from recipes.common.run import link, use_all_cores
from recipes.quickstart import making, report
from recipes.quickstart.prepare import NAME, VERSION, make

HERE = Path(__file__).parent
OUTPUT, DIGITS = Path("runs/quickstart"), Path("runs/quickstart-digits")
SECTIONS = {
    "caption": ("Picture → name", "Captioning of emoji that the model has never seen."),
    "transcribe": (
        "Spoken name → text",
        "Speech recognition of names that it has never heard; the voice is synthetic.",
    ),
    "translate": ("English → German", "Translation of names that it has never read."),
    "tone": (
        "Picture → skin tone",
        "Classification of emoji that it has never seen, from the picture's encoder alone.",
    ),
}
MADE = {
    "draw": (
        "Word → picture",
        "Digits that the second model draws: {right:.0%} of {count} are named as asked by a support vector machine that knows real "
        "pictures only, and is right about {real:.0%} of those.",
    ),
    "say": (
        "Picture → spoken word",
        "It says what is in pictures of digits that it has never seen: of {count} sounds, {right:.0%} are nearest to a recording of "
        "the right word. The voices are synthetic.",
    ),
}
BASELINES = {
    "caption": ("bleu", "caption: always the most typical name"),
    "transcribe": ("cer", "speech: say nothing"),
    "translate": ("bleu", "translation: copy the English name"),
    "tone": ("accuracy", "classification: always the commonest label"),
}


def main() -> None:
    """Run the demo and print where the report is."""
    try:
        _run(Console())
    except (RecipeError, mmkit.MmkitError) as error:
        raise SystemExit(f"{NAME}: {error}") from None


def _run(console: Console) -> None:
    started = time.monotonic()
    folder, _ = made_once(recipe_folder(NAME), VERSION, make)
    link(NAME, folder)
    cores = use_all_cores()
    prepared = time.monotonic()
    model = _train(console, "spec.yaml", OUTPUT, "training")
    trained = time.monotonic()
    results = _evaluate(model, console)
    _check_reloaded(model, read_jsonl(folder / "test.jsonl")[:16], folder)
    evaluated = time.monotonic()
    painter = _train(console, "digits.yaml", DIGITS, "training the second model")
    made = making.make(mmkit.load(DIGITS, verify=True), folder / "digits")
    seconds = {"data": prepared - started, "training": trained - prepared, "evaluation": evaluated - trained}
    seconds["second model"] = time.monotonic() - evaluated
    baselines = json.loads((folder / "baseline.json").read_text("utf-8"))
    figures = _figures(results, baselines) + [_made_figure(one) for one in made]
    rows = read_jsonl(folder / "test.jsonl")
    report.write(
        OUTPUT / "report.html",
        parameters=f"{sum(p.numel() for p in model.parameters()):,}",
        seconds={name: round(value) for name, value in seconds.items()},
        cores=cores,
        seed=model.plan.spec.train.seed if model.plan.spec.train else 0,
        rows=baselines["rows"],
        minutes=baselines["speech_minutes"],
        graph=Markup(to_svg(model.plan)),
        spec=(HERE / "spec.yaml").read_text("utf-8"),
        figures=figures,
        sections=[_section(task, results[task], rows, folder) for task in SECTIONS],
        made=[_made_section(one) for one in made],
        digits=(HERE / "digits.yaml").read_text("utf-8"),
        painter=f"{sum(p.numel() for p in painter.parameters()):,}",
    )
    write_json(OUTPUT / "figures.json", {"figures": figures, "seconds": seconds})
    for figure in figures:
        console.print("{task:11} {metric:9} {value:>6}   baseline {baseline:>6}  ({what})".format(**figure))
    console.print(
        f"data {seconds['data']:.0f} s, training {seconds['training']:.0f} s, "
        f"evaluation {seconds['evaluation']:.0f} s, second model {seconds['second model']:.0f} s on {cores} cores"
    )
    console.print(f"report: {OUTPUT / 'report.html'}   model: {OUTPUT}", soft_wrap=True)


def _bar(console: Console) -> Progress:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    return Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console)


def _train(console: Console, spec: str, output: Path, what: str) -> mmkit.Model:
    with _bar(console) as progress:
        bar = progress.add_task(what, total=None)

        def step(stage: str, at: int, of: int, logs: dict[str, float]) -> None:
            progress.update(bar, completed=at, total=of)

        return mmkit.train(
            HERE / spec,
            output=output,
            step=step,
            say=lambda line: console.print(line, highlight=False, soft_wrap=True),
        )


def _evaluate(model: mmkit.Model, console: Console) -> Any:
    with _bar(console) as progress:
        bars: dict[str, Any] = {}

        def step(task: str, done: int, of: int) -> None:
            if task not in bars:
                bars[task] = progress.add_task(f"evaluating {task}", total=of)
            progress.update(bars[task], completed=done)

        return mmkit.evaluate(model, step=step)


def _check_reloaded(model: mmkit.Model, rows: list[dict[str, Any]], root: Path) -> None:
    again = mmkit.load(OUTPUT, verify=True)
    for task in SECTIONS:
        if again.predict(task, rows, root=root) != model.predict(task, rows, root=root):
            raise SystemExit(f"the saved and reloaded model answers {task} differently: please report this")


def _figures(results: Any, baselines: dict[str, Any]) -> list[dict[str, str]]:
    figures = []
    for task, (metric, key) in BASELINES.items():
        value, base = results[task].metrics[metric], baselines[key][metric]
        what = key.split(": ", 1)[1]
        shown = {"value": f"{value:.3g}", "baseline": f"{base:.3g}", "what": what}
        figures.append({"task": task, "metric": metric, **shown})
    return figures


def _section(task: str, result: Any, rows: list[dict[str, Any]], root: Path) -> dict[str, Any]:
    title, note = SECTIONS[task]
    metrics = ", ".join(f"{name} {value:.3g}" for name, value in result.metrics.items())
    right = sum(report.answer(p) == r for p, r in zip(result.predictions, result.references, strict=True))
    note = f"{note} {right} of {len(result.predictions)} exactly right; {metrics}."
    return {"title": title, "note": note, "cards": report.cards(task, result, rows, root)}


def _made_figure(made: making.Made) -> dict[str, str]:
    shown = {"value": f"{made.right:.3g}", "baseline": "0.1", "what": "guess the word"}
    return {"task": made.task, "metric": "as asked", **shown}


def _made_section(made: making.Made) -> dict[str, Any]:
    title, note = MADE[made.task]
    note = note.format(right=made.right, real=made.real, count=len(made.wanted))
    return {"title": title, "note": note, "cards": report.made_cards(made)}


if __name__ == "__main__":
    main()
