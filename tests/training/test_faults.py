"""Numbers that are none, and memory that does not suffice: told at once, and nothing that was good is lost."""

import math
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import mmkit
import mmkit.training.run as training
from mmkit.errors import TrainingError
from mmkit.training.faults import Pass, is_out_of_memory, read_step

Run = Callable[..., Any]


@pytest.fixture
def spec(spec: dict[str, Any]) -> dict[str, Any]:
    spec["train"]["stages"] = [{"name": "all", "steps": 5, "batch_size": 2, "lr": 0.01, "accumulate": 2}]
    spec["train"]["save_every"] = 1
    return spec


def spoil(monkeypatch: pytest.MonkeyPatch, attach: Callable[[Any], None]) -> None:
    """Let ``attach`` change the model before it is trained."""
    build = training.build

    def changed(*given: Any, **more: Any) -> Any:
        model = build(*given, **more)
        attach(model)
        return model

    monkeypatch.setattr(training, "build", changed)


def failed(spec: dict[str, Any], output: Path) -> str:
    with pytest.raises(TrainingError) as caught:
        mmkit.train(spec, output=output, say=lambda line: None)
    return str(caught.value)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_loss_that_is_no_number_stops_in_that_step_and_names_its_samples(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, value: float
) -> None:
    seen: list[tuple[str, ...]] = []

    def attach(model: Any) -> None:
        head, loss = model.parts.heads["mood"], model.parts.heads["mood"].loss

        def broken(features: Any, targets: Any) -> mmkit.Loss:
            found = loss(features, targets)
            seen.append(())
            return mmkit.Loss(found.total * value, found.count) if len(seen) == 5 else found

        monkeypatch.setattr(head, "loss", broken)

    spoil(monkeypatch, attach)
    spec["data"]["train"] = spec["data"]["train"][:1]
    message = failed(spec, tmp_path / "model")
    where, _, rest = message.removeprefix(f"the loss of task mood is {value} at step 3; samples: ").partition("; ")
    assert rest == "the last saved model is untouched; try a lower lr, or look at these rows"
    assert [Path(one).name.partition(":")[0] for one in where.split(", ")] == ["rows.jsonl"] * 2
    kept = sorted((tmp_path / "model" / "checkpoints").glob("stage*"))
    assert [path.name for path in kept] == ["stage00-step00000001", "stage00-step00000002"]
    for tensor in mmkit.load(kept[-1], verify=True).state_dict().values():
        assert bool(torch.isfinite(tensor).all())


def test_gradient_that_is_no_number_stops_before_the_step(
    spec: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = []

    def attach(model: Any) -> None:
        def hook(gradient: torch.Tensor) -> torch.Tensor:
            calls.append(1)
            return gradient * math.nan if len(calls) > 4 else gradient

        model.parts.heads["mood"].output.weight.register_hook(hook)

    spoil(monkeypatch, attach)
    spec["data"]["train"] = spec["data"]["train"][:1]
    message = failed(spec, tmp_path / "model")
    assert message.startswith("the gradient of mood.head.output.weight is not finite at step 3, though the loss is ")
    assert message.endswith(
        "; the last saved model is untouched; try a lower lr, precision: fp32, or look at these rows"
    )
    assert f"samples: {tmp_path / 'rows.jsonl'}:" in message


def test_the_pass_with_the_bad_loss_is_told_apart() -> None:
    good, bad = torch.tensor(1.0), torch.tensor(math.nan)
    passes = [
        Pass(("a:1", "a:2"), good, {"x": (good, 2), "y": (good, 1)}),
        Pass(("b:1", "b:2"), bad, {"x": (good, 2), "y": (bad, 1)}),
    ]
    with pytest.raises(TrainingError) as caught:
        read_step(passes, torch.tensor(1.0), 7)
    assert str(caught.value) == (
        "the loss of task y is nan at step 7; samples: b:1, b:2; the last saved model is untouched; "
        "try a lower lr, or look at these rows"
    )
    numbers = read_step(passes[:1] * 2, torch.tensor(0.5), 7)
    assert (numbers.loss, numbers.norm, numbers.sums, numbers.counts) == (
        2.0,
        0.5,
        {"x": 2.0, "y": 2.0},
        {"x": 4, "y": 2},
    )


def little_memory(more: int) -> Callable[[], None]:
    """Lets the process have only so many bytes more than it has."""

    def limit() -> None:
        torch.zeros(1)
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more, resource.RLIM_INFINITY))

    return limit


@pytest.mark.parametrize("probe", [False, True])
def test_memory_that_does_not_suffice_says_what_to_change(
    spec: dict[str, Any], run: Run, tmp_path: Path, probe: bool
) -> None:
    rows = tmp_path / "rows.jsonl"
    long = [f'{{"text": "{"word " * count}", "label": "warm"}}\n' for count in (6001, *[6000] * 5)]
    rows.write_text(rows.read_text() + "".join(long))
    spec["data"]["train"] = [{"task": "mood", "path": str(rows)}]
    spec["train"]["stages"][0] |= {"batch_size": 66, "steps": 2}
    spec["train"]["probe"] = probe
    spec["backbone"]["dim"] = (
        96  # 69 MB a tensor: never from the heap that earlier tests left, which ends at 32 MiB a block
    )
    ran = run(spec, tmp_path / "model", before=little_memory(150_000_000))
    assert ran.status == 2, ran.error
    lines = ran.error.splitlines()
    when = "in the probe of stage all, before its first step" if probe else "at step 1 of stage all"
    assert lines[0].startswith(f"TrainingError: out of memory {when}: ")
    assert "memory" in lines[0].partition(": out of memory")[2]
    assert f"tokens in 66 samples; the largest is {rows}:61 with 30,005" in lines[1]
    assert lines[2] == (
        "  change one of: a smaller tokens_per_batch or batch_size (and a larger accumulate, for the same gradient), "
        "train.checkpoint_activations: true, train.precision: bf16, lora in place of whole weights; "
        "the last saved checkpoint is untouched"
    )


def test_probe_changes_nothing(spec: dict[str, Any], run: Run, tmp_path: Path) -> None:
    without = run(spec, tmp_path / "without")
    spec["train"]["probe"] = True
    probed = run(spec, tmp_path / "probed")
    assert probed.losses == without.losses
    line = next(line for line in probed.said if "largest" in line)
    assert line.startswith("stage all: the largest of 10 batches, ")
    assert line.endswith(" GB at most")


@pytest.mark.parametrize(
    ("error", "is_memory"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), True),
        (RuntimeError("[enforce fail at alloc_cpu.cpp:1] DefaultCPUAllocator: can't allocate memory: you tried"), True),
        (MemoryError(), True),
        (RuntimeError("mat1 and mat2 shapes cannot be multiplied"), False),
    ],
)
def test_memory_errors_are_recognised(error: Exception, is_memory: bool) -> None:
    assert is_out_of_memory(error) == is_memory
