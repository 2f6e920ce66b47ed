"""Streamed sources: every row once a pass, in another order each time, from JSONL and Parquet, one file or several."""

import json
from itertools import islice
from pathlib import Path
from typing import Any

import datasets
import pytest
from rows import build, spec_of, write_rows

from mmkit.data.loading import loader, open_all, raw_values
from mmkit.data.sources import Rows, open_source
from mmkit.data.streams import Stream
from mmkit.errors import DataError
from mmkit.spec.schema import Data, DataSource

ROWS = 100


@pytest.fixture(params=["jsonl", "two files", "parquet"])
def source(request: Any, tmp_path: Path) -> Any:
    """``source(**fields)``: a streamed source of ``ROWS`` rows."""
    first = write_rows(tmp_path / "rows-1.jsonl", ROWS)
    if request.param == "two files":
        lines = first.read_text().splitlines(keepends=True)
        first.write_text("".join(lines[:30]))
        (tmp_path / "rows-2.jsonl").write_text("".join(lines[30:]))
    if request.param == "parquet":
        table = datasets.load_dataset("json", data_files=[str(first)], split="train").data.table
        import pyarrow.parquet

        pyarrow.parquet.write_table(table, tmp_path / "rows-1.parquet", row_group_size=17)
    path = tmp_path / ("rows-*.parquet" if request.param == "parquet" else "rows-*.jsonl")

    def opened(**fields: Any) -> Rows:
        given = DataSource(task="mood", path=str(path), streaming=True, **fields)
        return open_source(given, Data(), tmp_path)

    return opened


def indices(stream: Stream, count: int) -> list[tuple[int, int]]:
    """(pass, ``index`` column) of the next rows."""
    found = []
    while len(found) < count and (given := stream.next()) is not None:
        epoch, _, table, place = given
        found.append((epoch, table["index"][place].as_py()))
    return found


def test_ordered_reading_gives_every_row_once_in_order(source: Any) -> None:
    stream = Stream(source(), None)
    assert indices(stream, 10 * ROWS) == [(0, n) for n in range(ROWS)]
    assert stream.next() is None


def test_every_pass_has_every_row_once_in_another_order(source: Any) -> None:
    drawn = indices(Stream(source(shuffle_buffer=16), (0, 0)), 3 * ROWS)
    passes = [[index for epoch, index in drawn if epoch == wanted] for wanted in range(3)]
    for order in passes:
        assert sorted(order) == list(range(ROWS))
    assert passes[0] != passes[1] != passes[2]
    assert passes[0][:16] != sorted(passes[0][:16])


def test_every_position_can_be_gone_back_to(source: Any) -> None:
    stream = Stream(source(shuffle_buffer=16), (0, 0))
    states, drawn = [stream.state()], []
    for _ in range(2 * ROWS + 30):
        drawn += indices(stream, 1)
        states.append(json.loads(json.dumps(stream.state())))
    again = Stream(source(shuffle_buffer=16), (0, 0))
    for position in (0, 1, 15, 16, 17, 31, 99, 100, 101, 130, 190):
        again.load(states[position])
        assert indices(again, 20) == drawn[position : position + 20]
        twice = Stream(source(shuffle_buffer=16), (0, 0))
        twice.load(json.loads(json.dumps(again.state())))
        assert indices(twice, 20) == drawn[position + 20 : position + 40]


def test_a_limit_keeps_the_first_rows_in_every_pass(source: Any) -> None:
    rows = source(limit=40, shuffle_buffer=16)
    drawn = indices(Stream(rows, (0, 0)), 80)
    assert sorted(drawn) == sorted((epoch, n) for epoch in range(2) for n in range(40))
    assert len(list(rows)) == 40


def test_streaming_and_indexing_prepare_the_same_samples(source: Any) -> None:
    path = source().name
    models = [build(spec_of([{"task": "mood", "path": path, "streaming": on}])) for on in (False, True)]
    indexed, streamed = (
        [s for batch in loader(model, open_all(model.plan, "train"), 7) for s in batch.references] for model in models
    )
    assert indexed == streamed
    values = [list(raw_values(open_all(m.plan, "train"), m.plan, "text")) for m in models]
    assert values[0] == values[1]


def test_rows_of_a_stream_of_several_files_are_named_by_pass(source: Any) -> None:
    rows = source()
    expected = f"{rows.name}:5" if rows.shards == 1 else f"{rows.name}: row 5 of pass 3"
    assert rows.address(4, 2) == expected


def test_a_file_that_breaks_off_is_named(tmp_path: Path) -> None:
    path = write_rows(tmp_path / "rows.jsonl", 5)
    model = build(spec_of([{"task": "mood", "path": str(path), "streaming": True}]))
    sources = open_all(model.plan, "train")
    path.write_text(path.read_text()[:-20])
    with pytest.raises(DataError, match=f"^cannot read {path} after row 0 of pass 1: "):
        list(islice(loader(model, sources, 4, seed=0), 2))


def test_workers_pass_on_errors_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"text": "a", "label": "pos", "sensor": [1]}\n' * 20 + '{"text": "a", "label": "x", "sensor": [1]}\n'
    )
    for workers in (0, 2):
        model = build(spec_of([{"task": "mood", "path": str(path)}], workers=workers))
        running = iter(loader(model, open_all(model.plan, "train"), 10))
        assert [len(next(running).tasks), len(next(running).tasks)] == [10, 10]
        with pytest.raises(DataError) as caught:
            next(running)
        assert str(caught.value) == (
            f"{path}:21: label 'x' is not in the head's labels; listed: neg, pos "
            "(data.on_bad_sample: skip would leave such rows out)"
        )
