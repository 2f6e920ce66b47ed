"""The repeated blocks of a model: compiled one by one, or run again in the backward pass instead of kept."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from dataclasses import dataclass
from functools import wraps
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.utils.checkpoint import checkpoint

_LISTS = (nn.ModuleList, nn.Sequential)
_BACKEND = "inductor"
_RECOMPILES = (
    32  # of one function; torch's own 8 are few where all layers of transformers share one that calls their own
)


def repeated_blocks(module: nn.Module) -> list[nn.Module]:
    """Modules with parts of their own that lie in a list of at least two of one class; of nested lists, the innermost."""
    children = list(module.children())
    inner = [block for child in children for block in repeated_blocks(child)]
    if inner or not isinstance(module, _LISTS) or len(children) < 2 or len({type(child) for child in children}) > 1:
        return inner
    if any(isinstance(child, _LISTS) or not any(True for _ in child.children()) for child in children):
        return []
    return [child for child in children if any(True for _ in child.parameters())]


@dataclass
class Recompiles:
    """How often code that was compiled before was compiled again, for another kind of input."""

    count: int = 0

    def note(self, args: Any) -> None:
        """A compilation begins; ``args.compile_id`` is frame/compilation_attempt."""
        number = str(args.compile_id).partition("/")[2].partition("_")[0]
        self.count += args.callback_trigger.name == "DYNAMO" and number not in ("", "0")


@contextmanager
def wrapped_blocks(
    blocks: Iterable[nn.Module], *, compiled: bool = False, checkpointed: bool = False
) -> Iterator[Recompiles]:
    """Inside, passes that learn run the blocks compiled, or checkpointed, or both; parameters keep their names.

    Args:
        compiled: with ``torch.compile``, any lengths: blocks of one class share their code. Whatever this process had
            compiled before is dropped. A function that meets more than 32 kinds of input goes on uncompiled; torch warns.
        checkpointed: only what goes into a block is kept; the backward pass runs it again (Chen et al. 2016), with the
            same dropout, and without moving the running statistics of its normalisation a second time.
    """
    from torch._dynamo.callback import callback_handler

    recompiles, before = Recompiles(), [(block, block.__dict__.get("forward")) for block in blocks]
    if compiled:
        torch.compiler.reset()
        callback_handler.register_start_callback(recompiles.note)
    limit = torch._dynamo.config.patch(recompile_limit=_RECOMPILES) if compiled else nullcontext()
    try:
        for block, _ in before:
            own = block.forward
            inner = torch.compile(own, dynamic=True, backend=_BACKEND) if compiled else own
            block.forward = _learning(own, _checkpointed(block, inner) if checkpointed else inner)
        with limit:
            yield recompiles
    finally:
        for block, forward in before:
            block.__dict__.pop("forward", None)
            if forward is not None:
                block.forward = forward
        with suppress(ValueError):  # a reset in between has dropped it
            callback_handler.remove_start_callback(recompiles.note)


def _learning(own: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """Decoding and evaluation keep the block as it is: no code is compiled for their caches and their shapes."""

    @wraps(own)
    def forward(*given: Any, **named: Any) -> Any:
        return other(*given, **named) if torch.is_grad_enabled() else own(*given, **named)

    return forward


def _checkpointed(block: nn.Module, inner: Callable[..., Any]) -> Callable[..., Any]:
    counted = _CountedAlready([module for module in block.modules() if isinstance(module, _NormBase)])

    def forward(*given: Any, **named: Any) -> Any:
        return checkpoint(inner, *given, use_reentrant=False, context_fn=lambda: (nullcontext(), counted), **named)

    return forward


class _CountedAlready:
    """Inside, a batch is seen again: the running statistics are afterwards as they were. The code that runs is that of the
    first time, for the backward pass expects what that kept."""

    def __init__(self, norms: list[_NormBase]) -> None:
        self.buffers = [buffer for norm in norms for buffer in norm.buffers()]
        self.before: list[Tensor] = []

    def __enter__(self) -> None:
        self.before = [buffer.clone() for buffer in self.buffers]

    @torch.no_grad()
    def __exit__(self, *_: object) -> None:
        for buffer, value in zip(self.buffers, self.before, strict=True):
            buffer.copy_(value)
