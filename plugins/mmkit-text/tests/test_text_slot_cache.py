"""Places allocated ahead: every item sees its own rows, however the cache grows, is reordered or trimmed."""

import pytest
import torch
from mmkit_text import slot_cache
from mmkit_text.slot_cache import SlotCache
from torch import Tensor

HEADS, GROUPS, WIDTH = 4, 2, 8


def draw(items: int, heads: int, rows: int, seed: int) -> Tensor:
    return torch.randn(items, heads, rows, WIDTH, generator=torch.Generator().manual_seed(seed))


def alone(query: Tensor, keys: Tensor, values: Tensor, window: int | None) -> Tensor:
    """One item: query [heads width], keys and values [groups rows width]."""
    keys, values = (part[:, -(window or 10**9) :].repeat_interleave(HEADS // GROUPS, 0) for part in (keys, values))
    weights = (query[:, None] @ keys.transpose(1, 2) * WIDTH**-0.5).softmax(-1)
    return (weights @ values)[:, 0]


@pytest.mark.parametrize("window", [None, 3])
@pytest.mark.parametrize("sizes", [[5, 0, 9], [4, 4, 4], [7]])
def test_steps_equal_attention_of_each_item_alone(
    monkeypatch: pytest.MonkeyPatch, sizes: list[int], window: int | None
) -> None:
    monkeypatch.setattr(slot_cache, "ROOM", 2)  # it grows while it is used
    cache, total = SlotCache(sizes, ahead=2), sum(sizes)
    key, value = draw(1, GROUPS, total, 0), draw(1, GROUPS, total, 1)
    cache.fill(0, key, value)
    keys, values = ([list(part[0].split(sizes, 1))[i] for i in range(len(sizes))] for part in (key, value))
    for step in range(8):
        if step in (2, 5):  # the last item leaves, or comes twice
            order = list(range(len(sizes)))[: 2 if step == 2 else None] + ([0] if step == 5 else [])
            order = [item for item in order if item < len(keys)]
            old = cache
            cache = cache.select(order, torch.device("cpu"))
            keys, values = [keys[i] for i in order], [values[i] for i in order]
            assert old is not cache
        items = len(keys)
        query, new_key, new_value = (draw(items, h, 1, 10 * step + h) for h in (HEADS, GROUPS, GROUPS))
        cache.advance()
        cache.write(0, new_key, new_value)
        keys = [torch.cat([rows, row], 1) for rows, row in zip(keys, new_key, strict=True)]
        values = [torch.cat([rows, row], 1) for rows, row in zip(values, new_value, strict=True)]
        read = cache.read(0, query, window)
        assert read.shape == (items, 1, HEADS, WIDTH)
        for item in range(items):
            expected = alone(query[item, :, 0], keys[item], values[item], window)
            torch.testing.assert_close(read[item, 0], expected, atol=1e-5, rtol=1e-5)


def test_a_selection_leaves_the_old_cache_alone_and_drops_shared_padding() -> None:
    cache = SlotCache([2, 9])
    cache.fill(0, draw(1, GROUPS, 11, 0), draw(1, GROUPS, 11, 1))
    chosen = cache.select([0, 0], torch.device("cpu"))
    assert (cache.longest, cache.starts) == (9, [7, 0])
    assert (chosen.longest, chosen.starts) == (2, [0, 0])
    before = cache.keys[0].clone()
    chosen.advance()
    chosen.write(0, draw(2, GROUPS, 1, 2), draw(2, GROUPS, 1, 3))
    assert torch.equal(cache.keys[0], before)
    assert torch.equal(chosen.keys[0][0, :, :2], before[0, :, 7:9])


def test_items_of_one_length_need_no_mask() -> None:
    cache = SlotCache([4, 4])
    cache.fill(0, draw(1, GROUPS, 8, 0), draw(1, GROUPS, 8, 1))
    cache.advance()
    cache.write(0, draw(2, GROUPS, 1, 2), draw(2, GROUPS, 1, 3))
    cache.read(0, draw(2, HEADS, 1, 4))
    assert cache.padding is None
