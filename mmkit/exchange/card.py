"""The model card, ``README.md``: what the spec, kept figures and ``privacy.json`` say of a model."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from huggingface_hub import EvalResult, ModelCard, ModelCardData

from mmkit.exchange.card_data import HUB_NAME, base_models, hub_names, parts_of_data, tested_on
from mmkit.exchange.card_license import NOT_STATED, License
from mmkit.exchange.card_tags import kinds_of, pipeline_tag, tag_of
from mmkit.exchange.card_text import code, plain, slug
from mmkit.model.model import Model
from mmkit.training.figures import Kept
from mmkit.wiring.graph import TaskPlan

CARD = "README.md"
_LABELS = 20


def card_of(
    model: Model,
    config: Any,
    name: str,
    figures: Sequence[Kept] = (),
    stated: License | None = None,
) -> ModelCard:
    """The card of an exported model.

    Args:
        config: the ``MmkitConfig``; decides what is said of the data: nothing, where it was made ``bare``.
        name: of the repository or the folder. figures: measured on this very model.
        stated: the licence, as whoever exports the model says it.
    """
    data = json.loads(config.spec).get("data") or {}
    lines = [*_head(model, config, name), *_parts(model), *_data(data), *_figures(figures, data)]
    lines += _privacy(model.privacy) if model.privacy else []
    lines += ["## License", "", NOT_STATED if stated is None else stated.words()]
    shown = [one for one in figures if one.task in model.plan.tasks]
    meta = _meta(model, config, name, shown, data, stated.fields() if stated is not None else {})
    return ModelCard(f"---\n{meta.to_yaml()}\n---\n\n" + "\n".join(lines) + "\n")


def _meta(
    model: Model,
    config: Any,
    name: str,
    figures: Sequence[Kept],
    data: Mapping[str, Any],
    stated: Mapping[str, str],
) -> ModelCardData:
    tags = ["mmkit", *sorted({slug(kind) for kinds in _kinds(model) for kind in kinds})]
    if model.privacy and model.privacy.get("epsilon") is not None and not model.privacy.get("seeded"):
        tags.append("differential-privacy")
    results = [result for one in figures for result in _results(model, one, data)]
    return ModelCardData(
        library_name="mmkit",
        pipeline_tag=pipeline_tag(model.plan, config.task),
        tags=tags,
        base_model=base_models(model.plan) or None,
        datasets=hub_names(data.get("train") or []) or None,
        model_name=slug(name.rpartition("/")[2]) if results else None,
        eval_results=results or None,
        **stated,  # type: ignore[arg-type]
    )


def _results(model: Model, one: Kept, data: Mapping[str, Any]) -> Iterator[EvalResult]:
    kind, called, split = tested_on(data, one)
    for metric, value in one.metrics.items():
        if metric != "bad_rows":
            yield EvalResult(
                task_type=tag_of(model.plan, model.plan.tasks[one.task]) or "other",
                task_name=plain(one.task),
                dataset_type=kind,
                dataset_name=called,
                dataset_split=split,
                metric_type=slug(metric),
                metric_name=plain(metric),
                metric_value=value,
            )


def _kinds(model: Model) -> tuple[list[str], list[str]]:
    pairs = [kinds_of(model.plan, task) for task in model.plan.tasks.values()]
    return tuple(sorted({kind for pair in pairs for kind in pair[side]}) for side in (0, 1))  # type: ignore[return-value]


def _head(model: Model, config: Any, name: str) -> Iterator[str]:
    reads, writes = _kinds(model)
    count = sum(parameter.numel() for parameter in model.parameters())
    yield f"# {code(name)}"
    yield ""
    made = f"A model of mmkit with {count:,} parameters. It reads {', '.join(map(code, reads)) or 'nothing'}"
    yield f"{made} and writes {', '.join(map(code, writes)) or 'labels, numbers or vectors'}."
    yield ""
    yield "## Tasks"
    yield ""
    for task in model.plan.tasks.values():
        yield from _task(model, task, task.name == config.task)
    yield ""
    yield "## Use"
    yield ""
    yield "```python"
    yield f"import mmkit  # pip install {' '.join(_distributions(config))}"
    yield "from transformers import pipeline"
    yield ""
    yield f'ask = pipeline("mmkit", model={json.dumps(plain(name), ensure_ascii=False)})'
    columns = ", ".join(f'"{column}": …' for column in model.plan.tasks[config.task].columns)
    yield f"ask({{{columns}}}, task={json.dumps(plain(config.task), ensure_ascii=False)})"
    yield "```"
    yield ""


def _task(model: Model, task: TaskPlan, meant: bool) -> Iterator[str]:
    spec = model.plan.spec.tasks[task.name]
    written = f" → {code(spec.output)}" if spec.output else ""
    default = "; the one that is meant where none is named" if meant and len(model.plan.tasks) > 1 else ""
    yield f"* {code(task.name)}: {code(spec.input)}{written}, head {code(task.head.component.full_name)}{default}"
    labels = getattr(model.parts.heads[task.name], "labels", None)
    if isinstance(labels, list) and labels:
        more = f" and {len(labels) - _LABELS:,} more" if len(labels) > _LABELS else ""
        yield f"    * labels: {', '.join(map(code, labels[:_LABELS]))}{more}"


def _distributions(config: Any) -> Iterator[str]:
    yield "mmkit"
    for made in config.plugins.values():
        given, version = str(made.get("distribution", "")), str(made.get("version", ""))
        if HUB_NAME.fullmatch(given) and "/" not in given:
            yield f"{given}=={version}" if HUB_NAME.fullmatch(version) and "/" not in version else given


def _parts(model: Model) -> Iterator[str]:
    placed = {one.node: one.component.full_name for one in model.plan.placed()}
    yield "## Parts"
    yield ""
    yield "| node | component | parameters |"
    yield "|---|---|---:|"
    for node, module in model.nodes().items():
        used = placed.get(node) or placed.get(node.removesuffix(".head")) or ""
        yield f"| {code(node)} | {code(used) if used else ''} | {sum(p.numel() for p in module.parameters()):,} |"
    yield ""


def _data(data: Mapping[str, Any]) -> Iterator[str]:
    parts = parts_of_data(data)
    if not parts:
        return
    yield "## Data"
    yield ""
    for part, sources in parts.items():
        yield f"* {part}: " + ", ".join(f"{code(name)} ({code(task)})" for name, task in sources)
    yield ""


def _figures(figures: Sequence[Kept], data: Mapping[str, Any]) -> Iterator[str]:
    if not figures:
        return
    yield "## Figures"
    yield ""
    yield "| task | rows | of | metric | value |"
    yield "|---|---:|---|---|---:|"
    for one in figures:
        most = f", at most {one.limit:,} a source" if one.limit is not None else ""
        for metric, value in one.metrics.items():
            where = f"{code(one.part)}{most}"
            yield f"| {code(one.task)} | {one.rows:,} | {where} | {code(metric)} | {value:.4g} |"
    yield ""


def _privacy(record: Mapping[str, Any]) -> Iterator[str]:
    spent = _number(record.get("epsilon"))
    yield "## Privacy"
    yield ""
    if record.get("seeded"):
        yield "Noise from a seed in the spec: **no protection**."
    elif spent is None:
        yield "Trained without noise: **no bound**."
    else:
        unit = code(record.get("unit", "one row"))
        yield f"Trained with differential privacy: ε {spent} at δ {_number(record.get('delta'))}, for {unit}."
    yield ""
    yield "| | |"
    yield "|---|---|"
    shown = {"mechanism": "mechanism", "clip": "clip", "noise_multiplier": "noise multiplier", "steps": "steps"}
    for key, said in {**shown, "sample_rate": "sampling rate", "rows": "rows", "accountant": "accountant"}.items():
        if key in record:
            yield f"| {said} | {_number(record[key]) or code(record[key])} |"
    if record.get("outside"):
        yield f"| outside | {code(record['outside'])} |"
    yield ""


def _number(value: Any) -> str | None:
    """A number as the card shows it; None where it is none: a configuration may come from anywhere."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    return f"{value:,}" if isinstance(value, int) else f"{value:.3g}"
