"""Several ranks, without processes: each has a loader of its own."""

import json
from itertools import islice
from typing import Any

import pytest
from rows import made

from mmkit.data.loading import loader, open_all
from mmkit.errors import DataError
from mmkit.spec.schema import Stage


def stage(**fields: Any) -> Stage:
    return Stage.model_validate({"name": "a", "steps": 1, **fields})


@pytest.mark.parametrize("streaming", [False, True], ids=["indexed", "streamed"])
@pytest.mark.parametrize("world", [2, 3])
def test_the_union_of_a_steps_samples_is_the_batch_of_one_process(make: Any, world: int, streaming: bool) -> None:
    model = make(streaming)
    sources = open_all(model.plan, "train")
    whole = loader(model, sources, stage(batch_size=4 * world), seed=3)
    parts = [loader(model, sources, stage(batch_size=4), seed=3, rank=rank, world=world) for rank in range(world)]
    for one, several in zip(islice(whole, 20), zip(*parts, strict=True), strict=False):
        assert all(len(part.addresses) == 4 for part in several)
        interleaved = [address for row in zip(*(part.addresses for part in several), strict=True) for address in row]
        assert list(one.addresses) == interleaved


@pytest.mark.parametrize("total", [1, 7, 8, 9, 16, 17])
def test_every_rank_gets_as_many_batches_whatever_the_number_of_samples(make: Any, total: int) -> None:
    model = make()
    sources = open_all(model.plan, "train")
    parts = [
        list(loader(model, sources, stage(batch_size=2), total_samples=total, seed=3, rank=rank, world=4))
        for rank in range(4)
    ]
    assert {len(part) for part in parts} == {-(-total // 8)}
    assert sum(len(batch.tasks) for part in parts for batch in part) == total
    assert model(parts[3][-1])["loss"].isfinite()


def test_token_batches_of_the_ranks_have_no_draw_in_common(make: Any) -> None:
    model = make()
    parts = [made(model, "tokens", rank=rank, world=2) for rank in range(2)]
    for part in parts:
        for _ in islice(part, 5):
            pass
    alone = made(model, "tokens")
    addresses = [address for batch in islice(alone, 30) for address in batch.addresses]
    assert len(addresses) > 60
    drawn = [{draw.number for record in part.window.records for draw in record.draws} for part in parts]
    assert all(number % 2 == rank for rank in range(2) for number in drawn[rank])


@pytest.mark.parametrize("worlds", [(2, 3), (1, 2), (3, 1), (4, 3)])
def test_fixed_batches_go_on_with_another_number_of_ranks(make: Any, worlds: tuple[int, int]) -> None:
    model = make(True)
    sources = open_all(model.plan, "train")
    old, new = worlds
    order = [
        address
        for batch in islice(loader(model, sources, stage(batch_size=1), seed=3), 200)
        for address in batch.addresses
    ]
    for saved_by in range(old):
        first = loader(model, sources, stage(batch_size=5), seed=3, rank=saved_by, world=old)
        for _ in islice(first, 7):
            pass
        state = json.loads(json.dumps(first.state_dict()))
        parts = [loader(model, sources, stage(batch_size=2), seed=3, rank=rank, world=new) for rank in range(new)]
        for part in parts:
            part.load_state_dict(state)
        for number, step in enumerate(islice(zip(*parts, strict=True), 5)):
            got = [address for batch in step for address in batch.addresses]
            start = 7 * 5 * old + number * 2 * new
            assert sorted(got) == sorted(order[start : start + 2 * new])


def test_token_batches_do_not_go_on_with_another_number_of_ranks(make: Any) -> None:
    model = make()
    state = made(model, "tokens", world=2).state_dict()
    with pytest.raises(DataError) as caught:
        made(model, "tokens").load_state_dict(state)
    assert str(caught.value) == (
        "the saved position is of 2 processes, this run has 1; with tokens_per_batch each packs samples of its own: "
        "resume with as many, or train with batch_size"
    )
