"""What stops a training run, said so that it can be mended: losses that are no numbers, gradients, memory."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from mmkit.errors import TrainingError
from mmkit.model.batch import PackedBatch
from mmkit.training.meter import count_tokens
from mmkit.training.parallel.gradients import local


@dataclass(frozen=True)
class Pass:
    """One forward pass of an optimizer step: its samples, its loss, and per task the summed loss and the targets."""

    addresses: tuple[str, ...]
    loss: Tensor
    losses: Mapping[str, tuple[Tensor, int]]


@dataclass(frozen=True)
class StepNumbers:
    """The losses and the gradient norm of one optimizer step, off the device."""

    loss: float
    norm: float
    sums: dict[str, float]
    counts: dict[str, int]


def read_step(passes: Sequence[Pass], norm: Tensor, step: int) -> StepNumbers:
    """Fetch a step's numbers from the device in one transfer, and see that the losses are finite.

    Raises:
        TrainingError: one is not; nothing has been changed by it yet.
    """
    flat = [norm.float(), *(one.loss.float() for one in passes)]
    flat += [value.detach().float() for one in passes for value, _ in one.losses.values()]
    values = torch.stack(flat).tolist()
    losses, rest = values[1 : 1 + len(passes)], iter(values[1 + len(passes) :])
    sums: dict[str, float] = {}
    counts: dict[str, int] = {}
    for one, loss in zip(passes, losses, strict=True):
        wrong = []
        for task, (_, count) in one.losses.items():
            value = next(rest)
            sums[task], counts[task] = sums.get(task, 0.0) + value, counts.get(task, 0) + count
            wrong += [] if _finite(value) else [task]
        if not _finite(loss):
            raise TrainingError(
                f"the loss of task {', '.join(wrong or one.losses)} is {loss} at step {step}; "
                f"samples: {_first(one.addresses)}; the last saved model is untouched; "
                "try a lower lr, or look at these rows"
            )
    return StepNumbers(sum(losses), values[0], sums, counts)


def check_gradient(
    numbers: StepNumbers, passes: Sequence[Pass], parameters: Mapping[str, nn.Parameter], step: int
) -> None:
    """See that it is finite.

    Raises:
        TrainingError: it is not; nothing has been changed by it yet.
    """
    if not _finite(numbers.norm):
        raise TrainingError(
            f"the gradient of {_broken(parameters)} is not finite at step {step}, though the loss is "
            f"{numbers.loss:.4g}; samples: {_first([a for one in passes for a in one.addresses])}; the last saved "
            "model is untouched; try a lower lr, precision: fp32, or look at these rows"
        )


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory was not enough, on a GPU or the CPU."""
    if isinstance(error, torch.OutOfMemoryError | MemoryError):
        return True
    return isinstance(error, RuntimeError) and any(
        phrase in str(error) for phrase in ("can't allocate memory", "not enough memory", "out of memory")
    )


def out_of_memory(
    error: BaseException, batch: PackedBatch | None, autoregressive: Sequence[str], when: str
) -> TrainingError:
    """The error that says how large the batch was and what to change."""
    if batch is None:
        return TrainingError(f"out of memory {when}: {_short(error)}; choose a smaller model, or freeze more of it")
    longest = int(batch.stream_lengths.max()) if len(batch.tasks) else 0
    largest = batch.addresses[int(batch.stream_lengths.argmax())] if batch.addresses else "none"
    return TrainingError(
        f"out of memory {when}: {_short(error)}\n"
        f"  the batch has {count_tokens(batch, autoregressive):,} tokens in {len(batch.tasks)} samples; "
        f"the largest is {largest} with {longest:,}\n"
        "  change one of: a smaller tokens_per_batch or batch_size (and a larger accumulate, for the same gradient), "
        "train.checkpoint_activations: true, train.precision: bf16, lora in place of whole weights; "
        "the last saved checkpoint is untouched"
    )


def is_uncompilable(error: BaseException) -> bool:
    """Whether an exception comes from ``torch.compile``."""
    dynamo = sys.modules.get("torch._dynamo.exc")  # loaded only where something is compiled
    return dynamo is not None and isinstance(error, dynamo.TorchDynamoException)


def cannot_compile(error: BaseException, when: str) -> TrainingError:
    """The error that says what the compiler misses."""
    cause = getattr(error, "inner_exception", error)
    return TrainingError(
        f"train.compile: the repeated blocks cannot be compiled {when}: {type(cause).__name__}: {_short(cause)}\n"
        "  fix: install what is missing (on the CPU a C++ compiler such as g++, on a GPU triton), or train.compile: false; "
        "the last saved checkpoint is untouched"
    )


def _short(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return text[0][:200] if text else type(error).__name__


def _finite(value: float) -> bool:
    return value - value == 0.0


def _first(addresses: Sequence[str]) -> str:
    return ", ".join(addresses[:5]) + (" …" if len(addresses) > 5 else "")


def _broken(parameters: Mapping[str, nn.Parameter]) -> str:
    grads = {name: local(p.grad) for name, p in parameters.items() if p.grad is not None}
    names = [name for name, grad in grads.items() if not bool(torch.isfinite(grad).all())]
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "") if names else "the model"
