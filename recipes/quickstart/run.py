"""The demo: prepare real data, train one model for four tasks, compare with baselines, save, reload, report."""

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import torch
from markupsafe import Markup

import mmkit
from mmkit.wiring.svg import to_svg
from recipes.quickstart import report
from recipes.quickstart.prepare import main as prepare

HERE = Path(__file__).parent
TITLES = {
    "caption": ("Picture → name", "Captioning of held-out emoji."),
    "transcribe": ("Spoken name → text", "Speech recognition of held-out names; the voice is synthetic."),
    "translate": ("English → German", "Translation of held-out names."),
    "group": ("Picture → group", "Classification of held-out emoji."),
}


def baselines(train: list[dict[str, Any]], test: list[dict[str, Any]]) -> dict[str, tuple[str, float, str]]:
    """Per task: metric, value, and what the trivial rule does."""
    import jiwer
    import sacrebleu

    en, de = [r["en"] for r in test], [r["de"] for r in test]
    common = Counter(r["en"] for r in train).most_common(1)[0][0]
    group = Counter(r["group"] for r in train).most_common(1)[0][0]
    return {
        "caption": ("bleu", sacrebleu.corpus_bleu([common] * len(en), [en]).score, "the most frequent name"),
        "transcribe": ("cer", jiwer.cer(en, [common] * len(en)), "the most frequent name"),
        "translate": ("bleu", sacrebleu.corpus_bleu(en, [de]).score, "copies the English"),
        "group": ("accuracy", sum(r["group"] == group for r in test) / len(test), "the most frequent group"),
    }


def main() -> None:
    """Run the demo and print where the report is."""
    threads = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    torch.set_num_threads(threads)
    folder = prepare()
    rows = {part: [json.loads(line) for line in (folder / f"{part}.jsonl").open()] for part in ("train", "test")}
    output = Path("runs/quickstart")
    started = time.monotonic()
    model = mmkit.train(HERE / "spec.yaml", output=output)
    seconds = time.monotonic() - started
    results = mmkit.evaluate(model)
    again = mmkit.load(output, verify=True)
    same = all(
        again.predict(task, [rows["test"][i] for i in range(16)], root=folder)
        == model.predict(task, [rows["test"][i] for i in range(16)], root=folder)
        for task in results
    )
    if not same:
        raise SystemExit("the reloaded model predicts something else")
    trivial = baselines(rows["train"], rows["test"])
    figures, sections = [], []
    for task, result in results.items():
        metric, base, what = trivial[task]
        value = result.metrics[metric]
        figures.append(
            {"task": task, "metric": metric, "value": f"{value:.3g}", "baseline": f"{base:.3g}", "what": what}
        )
        title, note = TITLES[task]
        extra = "  ".join(f"{name} {number:.3f}" for name, number in result.metrics.items())
        note = f"{note} {extra}. Green: equal to the reference; red: not. Below each answer, the reference."
        sections.append({"title": title, "note": note, "cards": report.cards(task, result, rows["test"], folder)})
        print(f"{task:10}  {metric} {value:.3f}   {what}: {base:.3f}")
    report.write(
        output / "report.html",
        tasks=list(results),
        parameters=f"{sum(p.numel() for p in model.parameters()):,}",
        seconds=f"{seconds:.0f}",
        cores=threads,
        seed=model.plan.spec.train.seed if model.plan.spec.train else 0,
        held_out=len(rows["test"]),
        total=len(rows["train"]) + len(rows["test"]),
        graph=Markup(to_svg(model.plan)),
        figures=figures,
        reloaded="the same, bit for bit" if same else "different",
        sections=sections,
    )
    (output / "figures.json").write_text(json.dumps(figures, indent=2))
    print(f"report: {output / 'report.html'}")


if __name__ == "__main__":
    main()
