"""``mmkit predict --engine ray``: the lines of the ordinary engine, from a Ray of this machine."""

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mmkit.cli.ray_engine import Job, Worker
from mmkit.cli.rows import Span, from_file, read_span, spans
from tests.cli.conftest import Run, write_rows

ROWS = [{"text": f"a {'fine' if n % 2 else 'dull'} film {n % 5}"} for n in range(23)]


@pytest.fixture
def cluster() -> Iterator[None]:
    """A Ray of two CPUs, started here so that the tests share it."""
    import ray

    ray.init(num_cpus=2, logging_level="ERROR", log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


def alike(there: str, here: str) -> bool:
    """The same lines, but for the last digits of numbers: kernels round by where memory happens to lie."""
    number = re.compile(r"\d\.\d+(?:e-\d+)?")
    assert number.sub("#", there) == number.sub("#", here)
    pairs = zip(number.findall(there), number.findall(here), strict=True)
    return all(float(a) == pytest.approx(float(b), abs=1e-6) for a, b in pairs)


def lines(run: Run, *arguments: object) -> str:
    done = run("predict", *arguments)
    assert done.code == 0, done.err
    return done.out


@pytest.mark.slow
def test_ray_gives_the_lines_of_the_ordinary_engine(
    run: Run, model: Path, work: Path, tmp_path: Path, cluster: None
) -> None:
    """One Ray for all: starting it takes the time."""
    rows = write_rows(tmp_path / "in.jsonl", [*ROWS[:9], "", *ROWS[9:]])
    common = (model, "--task", "mood", "--rows", rows, "--batch-size", 4)
    local = lines(run, *common)
    output = tmp_path / "new" / "out.jsonl"
    assert lines(run, *common, "--engine", "ray", "--workers", 2, "--output", output) == ""
    assert alike(output.read_text(), local)
    assert [json.loads(line)["row"] for line in local.splitlines()] == [*range(1, 10), *range(11, 25)]

    media = write_rows(work / "media.jsonl", [{"image": f"{name}.png"} for name in ("light", "dark")] * 3)
    common = (model, "--task", "caption", "--rows", media, "--beams", 2)
    assert alike(lines(run, *common, "--engine", "ray"), lines(run, *common))

    bad = write_rows(tmp_path / "bad.jsonl", [*ROWS[:5], {"txt": "x"}, "{oops", *ROWS[5:8]])
    common = (model, "--task", "mood", "--rows", bad, "--batch-size", 3)
    for policy in ((), ("--skip-bad",)):
        here, there = (run("predict", *common, *policy, *engine) for engine in ((), ("--engine", "ray")))
        assert (there.code, there.err) == (here.code, here.err)
        assert alike(there.out, here.out)
        assert len(there.out.splitlines()) == (10 if policy else 5)

    done = run("predict", *common, "--engine", "ray", "--workers", 3)
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: --workers 3: the cluster has 2 CPUs, and each worker needs one; say at most 2\n"


@pytest.mark.parametrize("size", [1, 3, 4, 100])
def test_spans_are_the_batches_of_the_file(tmp_path: Path, size: int) -> None:
    path = write_rows(tmp_path / "in.jsonl", ["", ROWS[0], "{oops", " ", *ROWS[1:4], "", {"ä": "ü"}, ""])
    rows = list(from_file(path)[0])
    read = [read_span(path, span) for span in spans(path, size)]
    assert [row for batch in read for row in batch] == rows
    assert [len(batch) for batch in read] == [len(rows[at : at + size]) for at in range(0, len(rows), size)]


def test_a_worker_answers_also_when_it_can_load_nothing(model: Path, tmp_path: Path) -> None:
    rows = write_rows(tmp_path / "in.jsonl", ROWS[:2])
    span = {"start": 0, "number": 1, "count": 2}
    job = Job(str(tmp_path / "none"), "mood", {}, str(rows), str(tmp_path), None)
    answer = json.loads(Worker(job)(span)["answers"])
    assert answer["kind"] == "CheckpointError"
    assert answer["message"].startswith(f"{tmp_path / 'none'} is not a saved mmkit model: it has no manifest.json (on ")
    assert answer["message"].endswith("; every machine must see model and rows under the same path)")
    answer = json.loads(Worker(Job(str(model), "mood", {}, "none.jsonl", ".", "cpu"))(span)["answers"])
    assert answer["kind"] == "DataError"
    assert answer["message"].startswith("cannot read none.jsonl: No such file or directory (on ")
    answers = json.loads(Worker(Job(str(model), "mood", {}, str(rows), str(tmp_path), "cpu"))(span)["answers"])
    assert [answer["row"] for answer in answers] == [1, 2]
    assert Span(**span) == spans(rows, 2)[0]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (["--engine", "rya", "--rows", "x.jsonl"], "there is no engine 'rya': did you mean 'ray'?"),
        (["--workers", "2", "--rows", "x.jsonl"], "--workers belongs to --engine ray"),
        (
            ["--engine", "ray", "--text", "x"],
            "--engine ray predicts a file that all machines see: give it by --rows FILE.jsonl",
        ),
        (
            ["--engine", "ray", "--rows", "-"],
            "--engine ray predicts a file that all machines see: give it by --rows FILE.jsonl",
        ),
    ],
)
def test_options_that_do_not_go_together_are_explained(run: Run, model: Path, line: list[str], message: str) -> None:
    done = run("predict", model, "--task", "mood", *line)
    assert (done.code, done.out, done.err) == (2, "", f"error: {message}\n")


def test_without_ray_the_way_to_install_it_is_said(
    run: Run, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    done = run("predict", model, "--task", "mood", "--rows", write_rows(tmp_path / "in.jsonl", ROWS), "--engine", "ray")
    assert (done.code, done.out) == (2, "")
    assert done.err == "error: --engine ray needs Ray, which is not installed: pip install 'mmkit[ray]'\n"
