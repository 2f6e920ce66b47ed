"""Prediction of a packed batch: plain heads directly, autoregressive heads by greedy, sampled or beam decoding."""

import math
import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

import torch

from mmkit.errors import MmkitError, nearest
from mmkit.interfaces import Grammar
from mmkit.model.batch import PackedBatch, pack
from mmkit.model.decoder import Decoder
from mmkit.ragged import Ragged, cat

if TYPE_CHECKING:
    from mmkit.model.model import Model, Run

LONGEST = 64
"""Most ids that are generated where neither the options nor the vocabulary say it."""
OPTIONS = {
    "max_new_tokens": None,
    "beams": 1,
    "temperature": 0.0,
    "top_k": None,
    "top_p": None,
    "length_penalty": 1.0,
    "guidance": 1.0,
    "seed": 0,
}


def predict_batch(model: "Model", task: str, batch: PackedBatch, **options: Any) -> list[Any]:
    """Predictions for every sample of the batch, all of one task, in order."""
    from mmkit.model.model import Run

    run, planned, head = Run(model, batch), model.plan.tasks[task], model.parts.heads[task]
    samples = list(range(len(batch.tasks)))
    if not head.autoregressive:
        if options:
            raise MmkitError(f"task {task!r} takes no options, got: {', '.join(options)}")
        return head.predict([run.read(node, samples) for node in planned.reads])
    decoder, prompt, chosen = prepared(run, task, options)
    ids = decoder.beam(prompt, chosen) if chosen["beams"] > 1 else decoder.sample(prompt, chosen)
    say_cut(decoder, task, len(samples), chosen)
    return head.predict([Ragged.of([torch.tensor(sequence, dtype=torch.int64) for sequence in ids])])


def prepared(run: "Run", task: str, options: Mapping[str, Any]) -> tuple[Decoder, Ragged, dict[str, Any]]:
    """The decoder of a task, what it reads for every sample of the batch, and all options.

    Raises:
        MmkitError: an option that is unknown, out of range, or does not fit the others or the task.
    """
    model = run.model
    planned, head = model.plan.tasks[task], model.parts.heads[task]
    chosen = {**OPTIONS, **{k: v for k, v in head.options().items() if k in OPTIONS}}
    chosen.update(options)
    _check(chosen)
    name = planned.output_modality
    assert name is not None
    vocabulary, node, samples = model.vocabularies[name], planned.reads[0], list(range(len(run.batch.tasks)))
    if chosen["max_new_tokens"] is None:
        chosen["max_new_tokens"] = vocabulary.longest if isinstance(vocabulary, Grammar) else LONGEST
    prompt = run.prompt(node, samples)
    guided = chosen["guidance"] != 1.0
    if guided:
        prompt = cat([prompt, _unconditional(run, task, node, len(samples))])
    decoder = Decoder(
        model.parts.backbones[node], vocabulary, model.offsets[name], chosen["guidance"] if guided else None
    )
    if chosen["beams"] > 1 and (guided or decoder.streams > 1):
        what = "guidance" if guided else f"{name!r}, which has {decoder.streams} ids a step,"
        raise MmkitError(f"beams > 1 and {what} exclude each other; decode with beams: 1")
    return decoder, prompt, chosen


def _unconditional(run: "Run", task: str, node: str, count: int) -> Ragged:
    """What is read where the input columns are left out, once a sample."""
    from mmkit.model.model import Run

    model = run.model
    if not model.parts.heads[task].input_dropout:
        raise MmkitError(
            f"guidance of task {task!r} needs a model that knows its prompt without columns; "
            "fix: train it with input_dropout: 0.1 in its head"
        )
    batch = pack([model.preparer().without_input(task)], {}).to(model.device)
    return Run(model, batch).prompt(node, [0]).select([0] * count)


def say_cut(decoder: Decoder, task: str, count: int, options: Mapping[str, Any]) -> None:
    """Warn of values that are not whole."""
    if decoder.cut and isinstance(decoder.vocabulary, Grammar):
        warnings.warn(
            f"task {task!r}: {decoder.cut} of {count} outputs reached max_new_tokens = {options['max_new_tokens']} before "
            "they ended and hold what was there by then; raise max_new_tokens",
            stacklevel=2,
        )


_LEGAL: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "max_new_tokens": ("a whole number above 0, or None", lambda v: isinstance(v, int) and v > 0),
    "beams": ("a whole number above 0", lambda v: isinstance(v, int) and v > 0),
    "temperature": ("a number, 0 or more", lambda v: 0 <= v < math.inf),
    "top_k": ("a whole number above 0, or None", lambda v: isinstance(v, int) and v > 0),
    "top_p": ("a number above 0, at most 1, or None", lambda v: 0 < v <= 1),
    "length_penalty": ("a number", math.isfinite),
    "guidance": ("a number, 0 or more", lambda v: 0 <= v < math.inf),
    "seed": ("a whole number", lambda v: isinstance(v, int)),
}


def _check(options: Mapping[str, Any]) -> None:
    """Refuse options that are unknown, out of range, or exclude each other."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise MmkitError(f"unknown decoding option {name!r}: {nearest(name, list(OPTIONS))}")
        wanted, legal = _LEGAL[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (legal(value) if number else value is None and OPTIONS[name] is None):
            raise MmkitError(f"decoding option {name!r} is {wanted}, got {value!r}")
    if options["beams"] > 1 and options["temperature"]:
        raise MmkitError(
            "decoding options beams > 1 and temperature > 0 exclude each other: beam search does not sample"
        )
