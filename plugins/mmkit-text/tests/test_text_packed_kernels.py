"""Which kernel attends to packed rows, and that all of them give what each document gives alone."""

from typing import Any

import pytest
import torch
from mmkit_text import packed_kernels
from mmkit_text.documents import KERNELS, Documents
from torch import Tensor
from torch.nn import functional

from mmkit import PluginError

SIZES = (5, 0, 9, 1)


def rows(heads: int, width: int = 16, sizes: tuple[int, ...] = SIZES, seed: int = 0) -> Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(1, sum(sizes), heads, width, generator=generator).transpose(1, 2).requires_grad_()


def alone(query: Tensor, key: Tensor, value: Tensor, documents: Documents, scaling: float | None = None) -> Tensor:
    """Softmax attention written out, a document at a time."""
    outputs, scale = [], scaling or query.shape[-1] ** -0.5
    parts = zip(
        query.split(documents.sizes, 2),
        key.split(documents.seen.sizes, 2),
        value.split(documents.seen.sizes, 2),
        strict=True,
    )
    for q, k, v in parts:
        k, v = (part.repeat_interleave(q.shape[1] // part.shape[1], dim=1) for part in (k, v))
        n, m = q.shape[2], k.shape[2]
        back = torch.arange(n)[:, None] + (m - n) - torch.arange(m)[None]
        seen = torch.ones(n, m, dtype=torch.bool)
        if documents.causal:
            seen = (back >= 0) & (back < (documents.window or m + 1))
        if documents.mask is not None:
            seen = documents.mask[0, 0, :n, :m]
        scores = (q @ k.transpose(2, 3) * scale).masked_fill(~seen, float("-inf"))
        outputs.append((scores.softmax(-1) @ v).transpose(1, 2))
    return torch.cat(outputs, 1)


class FakeVarlen:
    """``varlen_attn`` with the checks of the real one, computed on the CPU; ``grouped``: it knows ``enable_gqa``."""

    def __init__(self) -> None:
        self.calls: list[dict[str, Any]] = []

    def __call__(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor,
        max_q: int,
        max_k: int,
        *,
        return_aux: Any = None,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
        enable_gqa: bool = False,
    ) -> Tensor:
        assert query.dim() == key.dim() == value.dim() == 3
        assert query.dtype in (torch.float16, torch.bfloat16)
        assert cu_seq_q.dtype == cu_seq_k.dtype == torch.int32
        assert type(max_q) is int
        assert type(max_k) is int
        assert enable_gqa or query.shape[1] == key.shape[1]
        left, right = window_size
        assert right == (0 if (left, right) != (-1, -1) else -1)
        self.calls.append({"window": window_size, "grouped": enable_gqa, "heads": key.shape[1]})
        sizes = [tuple(bounds.diff().tolist()) for bounds in (cu_seq_q, cu_seq_k)]
        assert [max_q, max_k] == [max(size) for size in sizes]
        keys = Documents.of(sizes[1], query.device)
        window = left + 1 if left >= 0 else None
        documents = Documents.of(sizes[0], query.device, causal=right == 0, window=window, keys=keys)
        parts = (part.float().transpose(0, 1)[None] for part in (query, key, value))
        return alone(*parts, documents, scale)[0].to(query.dtype)


class OldVarlen(FakeVarlen):
    """That of torch 2.11."""

    def __call__(  # type: ignore[override]
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        cu_seq_q: Tensor,
        cu_seq_k: Tensor,
        max_q: int,
        max_k: int,
        *,
        return_aux: Any = None,
        scale: float | None = None,
        window_size: tuple[int, int] = (-1, -1),
    ) -> Tensor:
        return super().__call__(
            query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, scale=scale, window_size=window_size
        )


@pytest.fixture
def gpu(monkeypatch: pytest.MonkeyPatch) -> FakeVarlen:
    """A machine that seems to have a GPU."""
    fake = FakeVarlen()
    monkeypatch.setattr(packed_kernels, "varlen", lambda: fake)
    monkeypatch.setattr(packed_kernels, "on_gpu", lambda rows: True)
    from torch.nn.attention.flex_attention import flex_attention

    monkeypatch.setattr(packed_kernels, "flex", lambda: flex_attention)
    return fake


PATTERNS: dict[str, dict[str, Any]] = {
    "causal": {},
    "window": {"window": 3},
    "full": {"causal": False},
    "keys": {"keys": Documents.of((6, 2, 9, 4), torch.device("cpu"))},
    "full-keys": {"causal": False, "keys": Documents.of((6, 2, 9, 4), torch.device("cpu"))},
}


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("key_heads", [4, 2])
def test_documents_attend_as_if_alone_with_the_same_gradients(pattern: str, key_heads: int) -> None:
    documents = Documents.of(SIZES, torch.device("cpu"), **PATTERNS[pattern])
    query, key, value = (
        rows(4),
        rows(key_heads, 16, documents.seen.sizes, 1),
        rows(key_heads, 16, documents.seen.sizes, 2),
    )
    got, expected = (way(query, key, value, documents) for way in (packed_kernels.attend, alone))
    torch.testing.assert_close(got, expected, atol=1e-5, rtol=1e-5)
    weights = torch.randn(got.shape, generator=torch.Generator().manual_seed(3))
    given = [query, key, value]
    found, wanted = (torch.autograd.grad((way * weights).sum(), given) for way in (got, expected))
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-5, rtol=1e-5)


def test_other_patterns_are_cut_from_one_mask() -> None:
    mask = torch.rand(1, 1, 9, 9, generator=torch.Generator().manual_seed(0)) < 0.5
    documents = Documents.of(SIZES, torch.device("cpu"), mask=mask)
    parts = [rows(2, seed=seed) for seed in range(3)]
    own = Documents.of(SIZES, torch.device("cpu"), mask=mask | torch.eye(9, dtype=torch.bool))
    torch.testing.assert_close(packed_kernels.attend(*parts, documents), alone(*parts, own), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("key_heads", [4, 2])
@pytest.mark.parametrize("old", [False, True])
def test_half_precision_on_a_gpu_takes_the_varlen_kernel(
    gpu: FakeVarlen, monkeypatch: pytest.MonkeyPatch, pattern: str, key_heads: int, old: bool
) -> None:
    fake = OldVarlen() if old else gpu
    monkeypatch.setattr(packed_kernels, "varlen", lambda: fake)
    documents = Documents.of(SIZES, torch.device("cpu"), **PATTERNS[pattern])
    given = rows(4), rows(key_heads, 16, documents.seen.sizes, 1), rows(key_heads, 16, documents.seen.sizes, 2)
    parts = [part.bfloat16() for part in given]
    got = packed_kernels.attend(*parts, documents, scaling=0.3)
    expected = alone(*(part.float() for part in parts), documents, 0.3)
    torch.testing.assert_close(got.float(), expected, atol=1e-2, rtol=1e-2)
    window = {"window": (2, 0), "full": (-1, -1), "full-keys": (-1, -1)}.get(pattern, (-1, 0))
    repeated = old and key_heads == 2
    assert fake.calls == [
        {"window": window, "grouped": key_heads == 2 and not old, "heads": 4 if repeated else key_heads}
    ]


@pytest.mark.parametrize("pattern", ["causal", "window", "rule"])
@pytest.mark.parametrize("key_heads", [4, 2])
def test_single_precision_on_a_gpu_takes_flex_attention(gpu: FakeVarlen, pattern: str, key_heads: int) -> None:
    options = dict(PATTERNS.get(pattern, {}))
    if pattern == "rule":  # chunks of four places
        place = torch.arange(9)
        same = (place[:, None] // 4 == place[None] // 4) & (place[:, None] >= place[None])
        options = {"mask": same[None, None], "rule": lambda b, h, q, k: (q // 4 == k // 4) & (q >= k)}
    documents = Documents.of(SIZES, torch.device("cpu"), **options)
    parts = [rows(4), rows(key_heads, seed=1), rows(key_heads, seed=2)]
    got = packed_kernels.attend(*(part.detach() for part in parts), documents)
    torch.testing.assert_close(got, alone(*parts, documents), atol=1e-5, rtol=1e-5)
    assert documents.__dict__["blocks"] is not None
    assert gpu.calls == []


def test_what_no_gpu_kernel_can_is_done_per_document(gpu: FakeVarlen) -> None:
    documents = Documents.of(SIZES, torch.device("cpu"))
    parts = [rows(4, 16, SIZES, seed).bfloat16() for seed in range(3)]
    assert packed_kernels.attend(*parts, documents, dropout=0.1).shape == (1, 15, 4, 16)
    assert gpu.calls == []
    assert "blocks" not in documents.__dict__


@pytest.mark.parametrize(
    ("kernel", "message"),
    [
        (
            "varlen",
            "attention: varlen needs a CUDA device, float16 or bfloat16; the rows are torch.float32 on cpu; "
            "fix: attention: packed takes a kernel that fits",
        ),
        (
            "flex",
            "attention: flex needs a CUDA device; the rows are torch.float32 on cpu; "
            "fix: attention: packed takes a kernel that fits",
        ),
    ],
)
def test_a_kernel_that_cannot_is_refused_with_the_reason(kernel: str, message: str) -> None:
    documents = Documents.of(SIZES, torch.device("cpu"), kernels=(kernel,))
    with pytest.raises(PluginError) as caught:
        packed_kernels.attend(*(rows(2, seed=seed) for seed in range(3)), documents)
    assert str(caught.value) == message


def test_all_needs_of_the_varlen_kernel_are_named(gpu: FakeVarlen) -> None:
    mask = torch.ones(1, 1, 9, 9, dtype=torch.bool)
    documents = Documents.of(SIZES, torch.device("cpu"), kernels=("varlen",), mask=mask)
    with pytest.raises(PluginError) as caught:
        packed_kernels.attend(*(rows(2, 12, SIZES, seed) for seed in range(3)), documents, dropout=0.1)
    assert str(caught.value) == (
        "attention: varlen needs float16 or bfloat16, heads of one width, a multiple of 8 up to 256, causal order or a "
        "sliding window, no attention dropout; the rows are torch.float32 on cpu; "
        "fix: attention: packed takes a kernel that fits"
    )


def test_the_real_kernels_take_the_arguments_that_are_given() -> None:
    import inspect

    from torch.nn.attention.flex_attention import flex_attention

    varlen = pytest.importorskip("torch.nn.attention.varlen")
    parameters = inspect.signature(varlen.varlen_attn).parameters
    assert list(parameters)[:7] == ["query", "key", "value", "cu_seq_q", "cu_seq_k", "max_q", "max_k"]
    assert {"scale", "window_size"} <= set(parameters)
    assert {"block_mask", "scale", "enable_gqa"} <= set(inspect.signature(flex_attention).parameters)
    assert KERNELS == ("varlen", "flex", "documents")
    assert functional.scaled_dot_product_attention is not None
