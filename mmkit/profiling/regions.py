"""Names for the parts of a training step, as regions that torch's profiler records."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import wraps
from typing import Any

from torch.profiler import record_function

from mmkit.interfaces import Backbone, TaskHead
from mmkit.model.model import Model
from mmkit.training.trainer import PackedTrainer

STREAM, DATA, BACKWARD, CLIP, OPTIMIZER = "stream", "data", "backward", "clipping", "optimizer"
"""Putting the streams together · waiting for batches · the backward pass · the gradient's norm · the weights' update."""


@contextmanager
def regions(model: Model, trainer: PackedTrainer) -> Iterator[list[str]]:
    """Give every node and every part of a step a region of its name; nodes lie inside of ``stream``.

    Yields:
        the names, in the order of the model.
    """
    calls: list[tuple[Any, str, str]] = [(model, "forward", STREAM), (model, "zero_grad", OPTIMIZER)]
    for node, module in model.nodes().items():
        calls.append((module, "forward", node))
        if isinstance(module, Backbone):
            calls.append((module, "embed", node))
        if isinstance(module, TaskHead):
            calls.append((module, "loss", node))
    calls += [(trainer, "get_batch_samples", DATA), (trainer, "_clip_grad_norm", CLIP)]
    calls.append((trainer.accelerator, "backward", BACKWARD))
    with ExitStack() as stack:
        for owner, method, name in calls:
            stack.enter_context(_named(owner, method, name))
        yield list(dict.fromkeys(name for _, _, name in calls))


@contextmanager
def _named(owner: Any, method: str, name: str) -> Iterator[None]:
    """The method of one object, inside of a region."""
    own, inner = vars(owner).get(method), getattr(owner, method)

    @wraps(inner)
    def recorded(*given: Any, **more: Any) -> Any:
        with record_function(name):
            return inner(*given, **more)

    setattr(owner, method, recorded)
    try:
        yield
    finally:
        if own is None:
            delattr(owner, method)
        else:
            setattr(owner, method, own)
