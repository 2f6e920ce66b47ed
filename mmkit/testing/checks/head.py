"""Losses, predictions and figures of a head."""

import json
import math
from collections.abc import Mapping

import torch

from mmkit.interfaces import Metric
from mmkit.ragged import Ragged
from mmkit.testing.check import NotApplicable, check, require
from mmkit.testing.subject import HeadSubject, Subject

_HEAD = ("head",)


@check("bronze", _HEAD, "sum over targets in float32; leave out nothing that makes the sum infinite")
def loss_is_a_finite_sum(subject: Subject) -> None:
    """The loss is one finite number, and its count a whole number above 0."""
    assert isinstance(subject, HeadSubject)
    loss = subject.loss(subject.built, subject.inputs)
    require(loss.total.numel() == 1 and bool(loss.total.isfinite().all()), f"the loss is {loss.total}")
    require(isinstance(loss.count, int) and loss.count > 0, f"the count is {loss.count!r}")


@check("bronze", _HEAD, "give one prediction a sample, in order")
def one_prediction_a_sample(subject: Subject) -> None:
    """There is one prediction for each sample, the same as for that sample alone."""
    assert isinstance(subject, HeadSubject)
    predicted = _predictions(subject)
    require(len(predicted) == len(subject.inputs), f"{len(subject.inputs)} samples, {len(predicted)} predictions")


@check("silver", _HEAD, "return numbers, strings, lists, dicts, arrays or what NumPy reads as one (pictures)")
def predictions_are_plain(subject: Subject) -> None:
    """A prediction can be written as JSON, tensors, arrays and pictures as lists."""
    import numpy as np

    assert isinstance(subject, HeadSubject)
    for value in _predictions(subject):
        json.dumps(value, default=lambda part: np.asarray(part).tolist(), allow_nan=True)


@check("silver", _HEAD, "return Metric objects whose compute() gives a dict of floats; sum up in update()")
def metrics_do_not_depend_on_batches(subject: Subject) -> None:
    """Figures have names, are finite, and are the same whether samples come at once or one by one."""
    assert isinstance(subject, HeadSubject)
    references = subject.raws
    if references[0] is None:
        references = [None] * len(subject.inputs)
    predicted = _predictions(subject)
    whole, single = subject.built.metrics(), subject.built.metrics()
    if not whole:
        raise NotApplicable("it has no metrics")
    for metric in [*whole, *single]:
        require(isinstance(metric, Metric), f"a {type(metric).__name__} has no update and compute")
    for metric in whole:
        metric.update(predicted, references)
    for metric in single:
        for prediction, reference in zip(predicted, references, strict=True):
            metric.update([prediction], [reference])
    for one, other in zip(whole, single, strict=True):
        figures, again = one.compute(), other.compute()
        require(isinstance(figures, Mapping) and bool(figures), f"compute() gave {figures!r}")
        for name, value in figures.items():
            require(isinstance(value, float | int), f"{name} is {value!r}")
            require(
                math.isclose(
                    value,
                    again[name],
                    rel_tol=1e-6,
                    abs_tol=1e-9,
                )
                or value != value,
                f"{name}: {again[name]}, at once {value}",
            )


@check(
    "silver", _HEAD, "return only options that mmkit knows: max_new_tokens, beams, temperature, top_k, top_p, seed …"
)
def decoding_options_are_known(subject: Subject) -> None:
    """An autoregressive head names decoding options that exist."""
    from mmkit.model.generate import OPTIONS

    options = subject.built.options()
    if not subject.component.autoregressive:
        require(not options, f"it does not decode and has options: {', '.join(options)}")
        return
    odd = [name for name in options if name not in OPTIONS]
    require(not odd, f"unknown: {', '.join(odd)}")


@check("silver", _HEAD, "make the loss fall where the output comes nearer to its target")
def loss_can_be_learned(subject: Subject) -> None:
    """Twenty steps on three samples lower the loss."""
    assert isinstance(subject, HeadSubject)
    head = subject.build(seed=1)
    weights = [p for p in head.parameters() if p.requires_grad] or list(subject.backbone.parameters())
    optimizer = torch.optim.Adam(weights, lr=1e-2)
    losses = []
    for _ in range(20):
        optimizer.zero_grad()
        loss = subject.loss(head, subject.inputs).total
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    require(losses[-1] < losses[0], f"it went from {losses[0]:.4f} to {losses[-1]:.4f}")


def _predictions(subject: HeadSubject) -> list[object]:
    with torch.no_grad():
        if subject.component.autoregressive:
            ids = [target[:-1] for _, target in subject.inputs]
            return list(subject.built.predict([Ragged.of(ids)]))
        return list(subject.built.predict(subject.features(subject.inputs)))
