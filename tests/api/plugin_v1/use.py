"""One model of all components of the plugin, as a program for API 1 uses it; prints what it found."""

import json

import mmkit

source = {"use": "waves", "count": 8}
spec = {
    "mmkit": 1,
    "modalities": {
        "signal": {"encoder": {"use": "signal-patches", "patch": 4, "dim": 16}, "adapter": "halve"},
        "level": {"adapter": {"use": "levels", "levels": 9}},
    },
    "backbone": {"use": "frozen/gru-1", "width": 16},
    "tasks": {
        "cycles": {
            "input": "{signal}",
            "output": "{cycles}",
            "head": {"use": "quantiles", "quantiles": [0.5]},
            "metrics": [{"use": "answers", "name": "number"}],
        },
        "go_on": {
            "input": "{past}",
            "output": "{future}",
            "columns": {"past": "level", "future": "level"},
            "head": {"use": "continue", "label_smoothing": 0.1, "max_new_tokens": 4, "beams": 2},
        },
    },
    "data": {part: [{"task": task, "source": source} for task in ("cycles", "go_on")] for part in ("train", "test")},
    "train": {"callbacks": ["watch"], "stages": [{"name": "all", "steps": 60, "batch_size": 4, "lr": 0.01}]},
}
tokens = {row.node: row.tokens for row in mmkit.check(spec)}
model = mmkit.train(spec, output="model", say=lambda line: None)
result = mmkit.evaluate(model)
(report,) = (report for report in mmkit.plugins() if report.name == "frozen")
sample = {"signal": [0.0, 1.0, 0.0, -1.0], "past": [0.0, 1.0]}
answers = [{task: one.predict(task, sample) for task in ("cycles", "go_on")} for one in (model, mmkit.load("model"))]
print(
    json.dumps(
        {
            "plugin": [report.distribution, report.version, report.status, list(report.notes)],
            "tokens": tokens["signal.adapter"],
            "metrics": sorted(name for task in result.values() for name in task.metrics),
            "number": result["cycles"].metrics["number"],
            "answers": answers,
        }
    )
)
