"""Ways to attend over documents laid end to end: variable-length kernels, FlexAttention, one document after another."""

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable
from functools import cache
from typing import Any, cast

import torch
from jaxtyping import Shaped
from torch import Tensor
from torch.nn import functional

from mmkit import PluginError
from mmkit_text.documents import Documents

Query = Shaped[Tensor, "1 heads n head_dim"]
Key = Shaped[Tensor, "1 key_heads m head_dim"]
Value = Shaped[Tensor, "1 key_heads m value_dim"]


class Kernel(ABC):
    """A way to attend."""

    @abstractmethod
    def unfit(self, query: Query, value: Value, documents: Documents, dropout: float) -> str | None:
        """Why this kernel cannot do it; None: it can."""

    @abstractmethod
    def attend(
        self, query: Query, key: Key, value: Value, documents: Documents, dropout: float, scaling: float | None
    ) -> Shaped[Tensor, "1 n heads value_dim"]:
        """Attention of every document to its keys."""


class Varlen(Kernel):
    """``torch.nn.attention.varlen``: FlashAttention kernels that read the boundaries; grouped keys are not repeated."""

    def unfit(self, query: Query, value: Value, documents: Documents, dropout: float) -> str | None:
        """Half precision on a GPU; all rows, causal order or a sliding window; no dropout."""
        width, gpu = query.shape[-1], on_gpu(query)
        needs = {
            "a torch with torch.nn.attention.varlen": not gpu or "window_size" in _takes(varlen()),
            "a CUDA device": gpu,
            "float16 or bfloat16": query.dtype in (torch.float16, torch.bfloat16),
            "heads of one width, a multiple of 8 up to 256": value.shape[-1] == width and width % 8 == 0 < width <= 256,
            "causal order or a sliding window": documents.mask is None,
            "no attention dropout": not dropout,
        }
        return _missing(needs)

    def attend(
        self, query: Query, key: Key, value: Value, documents: Documents, dropout: float, scaling: float | None
    ) -> Shaped[Tensor, "1 n heads value_dim"]:
        """One call. A window of w rows is w-1 rows to the left; the kernel lines up last rows, as ``Documents`` do."""
        parts = [part[0].transpose(0, 1) for part in (query, key, value)]
        left = -1 if documents.window is None else documents.window - 1
        options: dict[str, Any] = {"scale": scaling, "window_size": (left, 0) if documents.causal else (-1, -1)}
        if query.shape[1] != key.shape[1]:
            if "enable_gqa" in _takes(varlen()):
                options["enable_gqa"] = True
            else:
                parts[1:] = [part.repeat_interleave(query.shape[1] // key.shape[1], dim=1) for part in parts[1:]]
        seen = documents.seen
        read = varlen()(*parts, documents.bounds, seen.bounds, documents.longest, seen.longest, **options)
        return read[None]


class Flex(Kernel):
    """FlexAttention (Dong et al. 2024): any pattern by index and any type on a GPU, compiled once."""

    def unfit(self, query: Query, value: Value, documents: Documents, dropout: float) -> str | None:
        """A GPU, rows that see their own document, no dropout."""
        own = documents.keys is None and documents.causal
        return _missing({"a CUDA device": on_gpu(query), "causal rows": own, "no attention dropout": not dropout})

    def attend(
        self, query: Query, key: Key, value: Value, documents: Documents, dropout: float, scaling: float | None
    ) -> Shaped[Tensor, "1 n heads value_dim"]:
        """One call with a block mask of the documents."""
        grouped = query.shape[1] != key.shape[1]
        read = flex()(query, key, value, block_mask=documents.blocks, scale=scaling, enable_gqa=grouped)
        return read.transpose(1, 2)


class PerDocument(Kernel):
    """torch's attention, one document after another: on a CPU faster than padded blocks, even for short documents."""

    def unfit(self, query: Query, value: Value, documents: Documents, dropout: float) -> str | None:
        """It always can."""
        return None

    def attend(
        self, query: Query, key: Key, value: Value, documents: Documents, dropout: float, scaling: float | None
    ) -> Shaped[Tensor, "1 n heads value_dim"]:
        """Views of the packed rows, without a mask wherever the pattern is plain."""
        queries, seen = query.split(documents.sizes, dim=2), documents.seen.sizes
        outputs = []
        for rows, keys, values in zip(queries, key.split(seen, dim=2), value.split(seen, dim=2), strict=True):
            if not rows.shape[2]:
                continue
            mask, causal = documents.pattern(rows.shape[2], keys.shape[2])
            read = functional.scaled_dot_product_attention(
                rows,
                keys,
                values,
                attn_mask=mask,
                dropout_p=dropout,
                is_causal=causal,
                scale=scaling,
                enable_gqa=rows.shape[1] != keys.shape[1],
            )
            outputs.append(read.transpose(1, 2))
        return torch.cat(outputs, dim=1) if outputs else query.transpose(1, 2)


_KERNELS: dict[str, Kernel] = {"varlen": Varlen(), "flex": Flex(), "documents": PerDocument()}


def attend(
    query: Query, key: Key, value: Value, documents: Documents, dropout: float = 0.0, scaling: float | None = None
) -> Shaped[Tensor, "1 n heads value_dim"]:
    """Attention within documents, by the first of their kernels that can. Not to be compiled: the code would be of that many
    documents and these lengths.

    Raises:
        PluginError: none can.
    """
    reasons = []
    for name in documents.kernels:
        reason = _KERNELS[name].unfit(query, value, documents, dropout)
        if reason is None:
            return _KERNELS[name].attend(query, key, value, documents, dropout, scaling)
        reasons.append(f"attention: {name} needs {reason}")
    raise PluginError(
        f"{'; '.join(reasons)}; the rows are {query.dtype} on {query.device.type}; "
        "fix: attention: packed takes a kernel that fits"
    )


def on_gpu(rows: Tensor) -> bool:
    """Whether the GPU's kernels can read these rows."""
    return rows.is_cuda


def _missing(needs: dict[str, bool]) -> str | None:
    return ", ".join(name for name, met in needs.items() if not met) or None


def _takes(kernel: Callable[..., Any]) -> set[str]:
    """The kernel's parameters: torch 2.11 has windows, later ones also grouped keys."""
    return set(inspect.signature(kernel).parameters)


@cache
def varlen() -> Callable[..., Any]:
    """The kernel, imported when it is first used: the compiler comes with it. One that takes nothing where torch was built without."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return lambda: None
    return cast("Callable[..., Any]", varlen_attn)


@cache
def flex() -> Callable[..., Any]:
    """FlexAttention, compiled when it is first used."""
    from torch.nn.attention.flex_attention import flex_attention

    return torch.compile(flex_attention, dynamic=True)
