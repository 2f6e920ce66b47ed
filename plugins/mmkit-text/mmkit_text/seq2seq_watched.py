"""What an encoder-decoder of transformers attends to, for one sample."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from mmkit import Attended, PluginError, Ragged
from mmkit_text.kept import Kept, eager

if TYPE_CHECKING:
    from mmkit_text.seq2seq_lm import Seq2SeqLm


@contextmanager
def watched(backbone: "Seq2SeqLm") -> Iterator[list[Attended]]:
    """Inside, the backbone's forward keeps what is read: by the layers of the encoder, then by each of the decoder, first of
    the target, then of the prompt. What the decoder reads before the begin id, and the row of zeros that stands for an empty
    prompt, are nothing of the sample.

    Raises:
        PluginError: the architecture shows no weights.
    """
    kept, own, seen = Kept(), backbone.forward, dict[str, tuple[Any, ...]]()

    def add(weights: Tensor, queries: Tensor, keys: Tensor) -> None:
        if weights.dim() != 4 or weights.shape[2:] != (len(queries), len(keys)):
            raise PluginError(
                f"the attention of {type(backbone.lm).__name__} cannot be seen: its weights are {list(weights.shape)}, and "
                f"not of each of {len(queries)} rows to each of {len(keys)}"
            )
        kept.add(weights, queries, keys)

    def forward(prompt: Ragged, target: Ragged | None = None) -> Ragged:
        seen.clear()
        states = own(prompt, target)
        rows, device = len(prompt.values), states.device
        read = torch.arange(rows, device=device) if rows else torch.full((1,), -1, device=device)
        for one in seen.get("encoder", ((),))[0]:
            add(one, read, read)
        for itself, across in zip(*seen.get("decoder", ((), ())), strict=True):
            written = torch.arange(itself.shape[-1], device=device) - len(backbone.frame.prefix)
            written = torch.where(written < 0, -1, written + rows)
            add(itself, written, written)
            add(across, written, read)
        return states

    with ExitStack() as stack:
        if backbone.encodes:
            stack.enter_context(eager(backbone.encoder, lambda *given: seen.update(encoder=given)))
        if backbone.generates:
            fields = ("attentions", "cross_attentions")
            stack.enter_context(eager(backbone.lm.get_decoder(), lambda *given: seen.update(decoder=given), fields))
        backbone.forward = forward  # type: ignore[method-assign]
        stack.callback(backbone.__dict__.pop, "forward")
        yield kept.all
