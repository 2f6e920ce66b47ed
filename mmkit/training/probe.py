"""The largest batch first: whether memory suffices is known before the training, not in the middle of it."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from itertools import islice

import torch
from torch import nn

from mmkit.model.batch import PackedBatch
from mmkit.model.model import Model
from mmkit.training.faults import is_out_of_memory, out_of_memory
from mmkit.training.hardware import peak_memory
from mmkit.training.meter import count_tokens

BATCHES = 64


def probe(
    model: Model,
    batches: Iterable[PackedBatch],
    parameters: Mapping[str, nn.Parameter],
    autoregressive: Sequence[str],
    autocast: bool,
    stage: str,
) -> str:
    """Forward and backward over the largest of the first batches, beside room for the optimizer's moments; the model
    and all random states are left as they were.

    Returns:
        a line that says how large it was and what it took.

    Raises:
        TrainingError: memory does not suffice.
    """
    kind = model.device.type
    buffers = [(buffer, buffer.clone()) for buffer in model.buffers()]
    with torch.random.fork_rng():
        seen = list(islice(batches, BATCHES))
        largest = max(seen, key=lambda batch: count_tokens(batch, autoregressive))
        try:
            moments = [torch.empty_like(parameter) for parameter in parameters.values() for _ in range(2)]
            model.train()
            with torch.autocast(kind, dtype=torch.bfloat16) if autocast else nullcontext():
                loss = model(largest.to(model.device))["loss"]
            if loss.requires_grad:
                loss.backward()
            del moments, loss
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error):
                raise
            when = f"in the probe of stage {stage}, before its first step"
            raise out_of_memory(error, largest, autoregressive, when) from error
    model.zero_grad()
    for buffer, value in buffers:
        buffer.copy_(value)
    return (
        f"stage {stage}: the largest of {len(seen)} batches, {count_tokens(largest, autoregressive):,} tokens in "
        f"{len(largest.tasks)} samples, fits: {peak_memory(model.device) / 1e9:.2f} GB at most"
    )
