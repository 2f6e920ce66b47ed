"""Prediction of a packed batch: plain heads directly, autoregressive heads by greedy, sampled or beam decoding."""

import math
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from mmkit.errors import MmkitError, nearest
from mmkit.interfaces import Grammar, TaskHead
from mmkit.interfaces.codec import streams_of
from mmkit.model.batch import PackedBatch, pack
from mmkit.model.constrain import check_able, rules_of
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
BESIDE = ("seed", "schema")
"""Options that may differ from row to row: lists of one for each."""


@dataclass(frozen=True)
class Made:
    """One prediction.

    Attributes:
        ids: how many ids were written for it, the end id left out; 0 of a head that writes none. whole: whether it ended by itself,
            and not at ``max_new_tokens``.
    """

    value: Any
    ids: int = 0
    whole: bool = True


def predict_batch(model: "Model", task: str, batch: PackedBatch, **options: Any) -> list[Any]:
    """Predictions for every sample of the batch, all of one task, in order."""
    return [made.value for made in made_batch(model, task, batch, **options)]


def made_batch(model: "Model", task: str, batch: PackedBatch, **options: Any) -> list[Made]:
    """As ``predict_batch``, and how long each prediction is."""
    from mmkit.model.model import Run

    run, planned, head = Run(model, batch), model.plan.tasks[task], model.parts.heads[task]
    samples = list(range(len(batch.tasks)))
    if not head.autoregressive:
        chosen = chosen_options(model, task, options)
        features = [run.read(node, samples) for node in planned.reads]
        given = {"seeds": seeds_of(chosen["seed"], len(samples))} if chosen else {}
        return [Made(value) for value in head.predict(features, **given)]
    decoder, prompt, chosen = prepared(run, task, options)
    ids = decoder.beam(prompt, chosen) if chosen["beams"] > 1 else decoder.sample(prompt, chosen)
    say_cut(decoder, task, len(samples), chosen)
    values = head.predict([Ragged.of([torch.tensor(sequence, dtype=torch.int64) for sequence in ids])])
    most = int(chosen["max_new_tokens"])
    return [Made(value, len(own), len(own) < most) for value, own in zip(values, ids, strict=True)]


def chosen_options(model: "Model", task: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """The options that a task will be decoded with: those given, else the head's, else the defaults. Of a head that does not
    decode, at most its seed.

    Raises:
        MmkitError: an option that is unknown, out of range, or does not fit the others or the task. A ``schema`` is compiled later.
    """
    head, name = model.parts.heads[task], model.plan.tasks[task].output_modality
    if not head.autoregressive:
        odd = [option for option in options if option != "seed" or not head.draws]
        if odd:
            raise MmkitError(f"task {task!r} takes no options{' but seed' * head.draws}, got: {', '.join(odd)}")
        return dict(options)
    chosen = {**OPTIONS, **{k: v for k, v in head.options().items() if k in OPTIONS}}
    chosen.update({"schema": None, **options})
    _check({key: value for key, value in chosen.items() if key not in BESIDE})
    assert name is not None
    vocabulary, guided = model.vocabularies[name], chosen["guidance"] != 1.0
    if chosen["max_new_tokens"] is None:
        chosen["max_new_tokens"] = vocabulary.longest if isinstance(vocabulary, Grammar) else LONGEST
    if guided and not head.input_dropout:
        raise MmkitError(
            f"guidance of task {task!r} needs a model that knows its prompt without columns; "
            "fix: train it with input_dropout: 0.1 in its head"
        )
    streams = streams_of(vocabulary)
    if chosen["beams"] > 1 and (guided or streams > 1):
        what = "guidance" if guided else f"{name!r}, which has {streams} ids a step,"
        raise MmkitError(f"beams > 1 and {what} exclude each other; decode with beams: 1")
    if chosen["schema"] is not None:
        if chosen["beams"] > 1:
            raise MmkitError("beams > 1 and schema exclude each other; decode with beams: 1")
        check_able(vocabulary, name)
    return chosen


def seeds_of(given: Any, count: int) -> list[int]:
    """One seed a sample: the same for all, or those of a list.

    Raises:
        MmkitError: something else, or a list of another length.
    """
    seeds = list(given) if isinstance(given, Sequence) and not isinstance(given, str) else [given] * count
    if len(seeds) != count:
        raise MmkitError(f"seed names {len(seeds)} seeds for {count} samples; give one number, or one a sample")
    odd = next((seed for seed in seeds if not isinstance(seed, int) or isinstance(seed, bool)), None)
    if odd is not None:
        raise MmkitError(f"decoding option 'seed' is a whole number, or a list of them, got {odd!r}")
    return seeds


def seeds_of_rows(head: TaskHead, rows: Sequence[int]) -> dict[str, list[int]]:
    """The option that draws every row of an evaluation for itself; nothing where nothing is drawn."""
    options = head.options()
    if not (head.draws or options.get("temperature")):
        return {}
    return {"seed": [int(options.get("seed", 0)) + row for row in rows]}


def prepared(run: "Run", task: str, options: Mapping[str, Any]) -> tuple[Decoder, Ragged, dict[str, Any]]:
    """The decoder of a task, what it reads for every sample of the batch, and all options.

    Raises:
        MmkitError: as ``chosen_options``.
    """
    model, chosen = run.model, chosen_options(run.model, task, options)
    planned = model.plan.tasks[task]
    chosen["seed"] = seeds_of(chosen["seed"], len(run.batch.tasks))
    name = planned.output_modality
    assert name is not None
    node, samples = planned.reads[0], list(range(len(run.batch.tasks)))
    prompt = run.prompt(node, samples)
    guided = chosen["guidance"] != 1.0
    if guided:
        prompt = cat([prompt, _unconditional(run, node, len(samples), task)])
    decoder = Decoder(
        model.parts.backbones[node],
        model.vocabularies[name],
        model.offsets[name],
        chosen["guidance"] if guided else None,
        rules_of(model.vocabularies[name], name, chosen["schema"], len(samples)),
    )
    return decoder, prompt, chosen


def _unconditional(run: "Run", node: str, count: int, task: str) -> Ragged:
    """What is read where the input columns are left out, once a sample."""
    from mmkit.model.model import Run

    model = run.model
    batch = pack([model.preparer().without_input(task)], {}).to(model.device)
    return Run(model, batch).prompt(node, [0]).select([0] * count)


def say_cut(decoder: Decoder, task: str, count: int, options: Mapping[str, Any]) -> None:
    """Warn of values that are not whole, where they promise to be."""
    if decoder.cut and (isinstance(decoder.vocabulary, Grammar) or any(decoder.rules)):
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
}


def _check(options: Mapping[str, Any]) -> None:
    """Refuse options that are unknown, out of range, or exclude each other."""
    for name, value in options.items():
        if name not in OPTIONS:
            raise MmkitError(f"unknown decoding option {name!r}: {nearest(name, [*OPTIONS, 'schema'])}")
        wanted, legal = _LEGAL[name]
        number = isinstance(value, int | float) and not isinstance(value, bool)
        if not (legal(value) if number else value is None and OPTIONS[name] is None):
            raise MmkitError(f"decoding option {name!r} is {wanted}, got {value!r}")
    if options["beams"] > 1 and options["temperature"]:
        raise MmkitError(
            "decoding options beams > 1 and temperature > 0 exclude each other: beam search does not sample"
        )
