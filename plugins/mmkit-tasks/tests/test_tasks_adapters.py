"""Adapters: promised tokens, exactness alone and in a batch, and agreement with references."""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn
from torch.nn import functional

import mmkit
from mmkit import BuildContext, Ragged

SIZES = [4, 9, 1, 16]
CASES: list[tuple[str, dict[str, Any]]] = [
    ("linear", {}),
    ("linear", {"positions": "sinusoidal_2d", "bias": False}),
    ("mlp", {"hidden": 10, "layers": 3, "norm": True, "dropout": 0.5}),
    ("mlp", {"positions": "learned_2d", "max_positions": 4}),
    ("mlp", {"positions": "learned", "max_positions": 16}),
    ("stack", {"factor": 3}),
    ("stack", {"factor": 4, "hidden": 8, "norm": True}),
    ("resampler", {"tokens": 5, "heads": 2}),
    ("resampler", {"tokens": 2, "heads": 2, "dim": 4, "layers": 1, "positions": False, "dropout": 0.1}),
    *[("pool", {"how": how}) for how in ("mean", "max", "first", "last", "attention")],
]
CONTEXT = BuildContext(in_dim=6, out_dim=8)


@pytest.mark.parametrize(("name", "config"), CASES)
def test_item_is_the_same_alone_and_in_a_batch(make: Any, items: Any, name: str, config: dict[str, Any]) -> None:
    adapter = make(name, CONTEXT, **config).eval()
    features = items(SIZES, 6)
    together = adapter(features)
    assert together.sizes == [adapter.num_tokens(size) for size in SIZES]
    assert together.values.shape[1] == adapter.out_dim == 8
    for index, expected in enumerate(together.split()):
        torch.testing.assert_close(adapter(features.select([index])).values, expected, atol=1e-6, rtol=1e-6)


@pytest.mark.parametrize(("name", "config"), CASES)
def test_every_parameter_learns_and_a_checkpoint_brings_all_back(
    make: Any, rebuilt: Any, items: Any, name: str, config: dict[str, Any]
) -> None:
    adapter = make(name, CONTEXT, **config).eval()
    features = items(SIZES, 6)
    adapter(features).values.pow(2).sum().backward()
    assert [n for n, p in adapter.named_parameters() if p.grad is None or not p.grad.abs().sum()] == []
    again = rebuilt(adapter, name, CONTEXT, **config)
    torch.testing.assert_close(again(features).values, adapter(features).values, atol=0, rtol=0)


@pytest.mark.parametrize(("name", "config"), [c for c in CASES if c[0] in ("resampler", "pool", "stack", "linear")])
def test_empty_item_keeps_its_promise(make: Any, items: Any, name: str, config: dict[str, Any]) -> None:
    adapter = make(name, CONTEXT, **config).eval()
    tokens = adapter(items([0, 4, 0], 6))
    assert tokens.sizes == [adapter.num_tokens(size) for size in (0, 4, 0)]
    assert bool(tokens.values.isfinite().all())


def test_stack_is_a_linear_layer_over_zero_padded_groups(make: Any, items: Any) -> None:
    adapter = make("stack", CONTEXT, factor=4)
    features = items([6], 6)
    padded = functional.pad(features.values, (0, 0, 0, 2)).reshape(2, 24)
    expected = functional.linear(padded, adapter.network[0].weight, adapter.network[0].bias)
    torch.testing.assert_close(adapter(features).values, expected)


def test_resampler_layer_is_multi_head_attention_over_rows_and_queries(make: Any, items: Any) -> None:
    adapter = make("resampler", BuildContext(in_dim=8, out_dim=8), tokens=3, heads=2, layers=1, positions=False)
    layer, rows = adapter.layers[0], items([5], 8).values[None]
    queries = layer.norm_queries(adapter.queries[None])
    reference = nn.MultiheadAttention(8, 2, bias=False, batch_first=True)
    reference.in_proj_weight.data = torch.cat([layer.to_query.weight, layer.to_key_value.weight]).data
    reference.out_proj.weight.data = layer.to_out.weight.data
    keys = torch.cat([layer.norm_rows(rows), queries], dim=1)
    states = adapter.queries + reference(queries, keys, keys)[0]
    expected = adapter.norm(states + layer.feedforward(states))
    torch.testing.assert_close(adapter(Ragged(rows[0], torch.tensor([5]))).values, expected[0])


def test_resampler_width_and_heads_must_fit(make: Any) -> None:
    with pytest.raises(mmkit.PluginError) as caught:
        make("resampler", CONTEXT, dim=10, heads=4)
    assert str(caught.value) == ("adapter 'resampler': its width 10 is not divisible by heads = 4; change dim or heads")


@pytest.mark.parametrize(
    ("how", "reduce"),
    [
        ("mean", lambda x: x.mean(0)),
        ("max", lambda x: x.amax(0)),
        ("first", lambda x: x[0]),
        ("last", lambda x: x[-1]),
    ],
)
def test_pool_of_equal_widths_only_pools(make: Any, items: Any, how: str, reduce: Callable[..., Any]) -> None:
    features = items([3, 5], 6)
    pooled = make("pool", BuildContext(in_dim=6, out_dim=6), how=how)(features)
    torch.testing.assert_close(pooled.values, torch.stack([reduce(item) for item in features.split()]))


def test_attention_pool_is_a_softmax_average(make: Any, items: Any) -> None:
    adapter = make("pool", BuildContext(in_dim=6, out_dim=6), how="attention")
    features = items([3, 5], 6)
    expected = [(adapter.score(item).softmax(0) * item).sum(0) for item in features.split()]
    torch.testing.assert_close(adapter(features).values, torch.stack(expected))


def test_mean_of_many_bfloat16_rows_is_taken_in_float32(make: Any) -> None:
    rows = torch.full((4096, 1), 1.0, dtype=torch.bfloat16)
    pooled = make("pool", BuildContext(in_dim=1, out_dim=1))(Ragged(rows, torch.tensor([4096])))
    assert pooled.values.dtype == torch.bfloat16
    assert float(pooled.values) == 1.0


def test_sinusoids_are_those_of_marian_and_of_the_masked_autoencoder() -> None:
    from mmkit_tasks.positions import Positions, sinusoids
    from transformers.models.marian.modeling_marian import MarianSinusoidalPositionalEmbedding
    from transformers.models.vit_mae.modeling_vit_mae import build_2d_sinusoidal_position_embedding

    expected = MarianSinusoidalPositionalEmbedding(50, 16).create_weight()
    torch.testing.assert_close(sinusoids(torch.arange(50), 16), expected, atol=1e-5, rtol=0)
    flat = Positions("sinusoidal_2d", 16, 0, (3, 5))(Ragged(torch.zeros(15, 16), torch.tensor([15]))).values
    expected = build_2d_sinusoidal_position_embedding(3, 5, 16)
    torch.testing.assert_close(flat, expected, atol=1e-5, rtol=0)


def test_grid_that_does_not_fit_is_refused_in_the_worker(make: Any) -> None:
    adapter = make("linear", CONTEXT, positions="sinusoidal_2d")
    assert adapter.num_tokens(49) == 49
    with pytest.raises(mmkit.SampleError) as caught:
        adapter.num_tokens(50)
    assert str(caught.value) == (
        "sinusoidal_2d positions need a full grid: an item has 50 tokens, wanted a square number; "
        "set grid: [rows, columns] to the shape that the encoder gives, or use 1-D positions"
    )
    assert make("linear", CONTEXT, positions="sinusoidal_2d", grid=[5, 10]).num_tokens(50) == 50


def test_item_longer_than_the_table_is_refused_in_the_worker(make: Any) -> None:
    adapter = make("mlp", CONTEXT, positions="learned", max_positions=16)
    with pytest.raises(mmkit.SampleError) as caught:
        adapter.num_tokens(17)
    assert str(caught.value) == (
        "an item needs 17 learned positions, the table has 16; raise max_positions, or use sinusoidal positions"
    )
