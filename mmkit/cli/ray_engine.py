"""Prediction of a file of rows on the machines of a Ray cluster, by Ray Data: the same batches, in the same order.

Every machine opens the model and the rows itself, so both lie where all of them see them under one path.
"""

import json
import logging
import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mmkit import errors
from mmkit.cli.output import to_json
from mmkit.cli.prediction import Answers, Predictor
from mmkit.cli.rows import Row, Span, read_span, spans
from mmkit.errors import MmkitError, SampleError

if TYPE_CHECKING:
    from mmkit.model.rendering import Files

QUIET = {"RAY_BACKEND_LOG_LEVEL": "fatal", "RAY_USAGE_STATS_ENABLED": "0"}


@dataclass(frozen=True)
class Job:
    """What a machine needs to know; absolute paths, and where it puts the files of answers."""

    folder: str
    task: str
    options: Mapping[str, Any]
    rows: str
    root: str
    device: str | None
    files: "Files | None" = None


class Worker:
    """Predicts on one machine. The model is loaded with the first batch, so that a failure is an answer, too."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.predictor: Predictor | None = None

    def __call__(self, item: Mapping[str, Any]) -> dict[str, str]:
        """A span of rows → its answers as JSON."""
        try:
            return {"answers": to_json([_packed(row, answer) for row, answer in self._answers(Span(**item))])}
        except MmkitError as error:
            return {"answers": to_json({"kind": type(error).__name__, "message": str(error)})}

    def _answers(self, span: Span) -> Iterator[tuple[Row, Any]]:
        try:
            predictor = self.predictor = self.predictor or self._load()
            rows = read_span(Path(self.job.rows), span)
        except MmkitError as error:
            where = f"on {socket.gethostname()}; every machine must see model and rows under the same path"
            raise type(error)(f"{error} ({where})") from None
        return zip(rows, predictor(rows), strict=True)

    def _load(self) -> Predictor:
        from mmkit.cli.model import open_model

        model = open_model(Path(self.job.folder), self.job.device)
        return Predictor(model, self.job.task, self.job.options, Path(self.job.root), self.job.files)


def predicted_by_ray(job: Job, path: Path, batch_size: int, workers: int | None) -> Answers:
    """On the cluster that RAY_ADDRESS or this machine is part of; else on this machine alone.

    Args:
        path: the rows as the user named them. workers: copies of the model; default: one a GPU, else one a machine.

    Raises:
        MmkitError: more workers than the cluster has room for; whatever a worker raises.
    """
    ray = require_ray()
    with _connected(ray):
        workers, cpus, gpus = _shares(ray, workers, job.device)
        batches = spans(path, batch_size)
        blocks = min(len(batches), max(4 * workers, min(len(batches) // 8, 10_000)))
        items = ray.data.from_items([asdict(span) for span in batches], override_num_blocks=blocks)
        items.context.execution_options.preserve_order = True
        items.context.enable_progress_bars = False
        pool = ray.data.ActorPoolStrategy(size=workers)
        answers = items.map(Worker, fn_constructor_args=(job,), compute=pool, num_cpus=cpus, num_gpus=gpus)
        for answer in answers.iter_rows():
            yield _unpacked(json.loads(answer["answers"]), path)


def require_ray() -> Any:
    """The library.

    Raises:
        MmkitError: it is not installed.
    """
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        import ray.data
    except ImportError:
        raise MmkitError("--engine ray needs Ray, which is not installed: pip install 'mmkit[ray]'") from None
    logging.getLogger("ray.data").setLevel(logging.ERROR)
    return ray


@contextmanager
def _connected(ray: Any) -> Iterator[None]:
    """A connection of our own is closed again."""
    if ray.is_initialized():
        yield
        return
    ray.init(logging_level=logging.ERROR, log_to_driver=False)
    try:
        yield
    finally:
        ray.shutdown()


def _shares(ray: Any, workers: int | None, device: str | None) -> tuple[int, int, int]:
    """Workers, and the CPUs and GPUs of each."""
    machines = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    cpus, gpus = ([int(machine.get(kind, 0)) for machine in machines] for kind in ("CPU", "GPU"))
    use_gpus = sum(gpus) > 0 and device != "cpu"
    room = min(sum(cpus), sum(gpus)) if use_gpus else sum(cpus)
    wanted = workers or (sum(gpus) if use_gpus else sum(count > 0 for count in cpus))
    if wanted > room:
        has = f"{sum(gpus)} GPUs and {sum(cpus)} CPUs" if use_gpus else f"{sum(cpus)} CPUs"
        raise MmkitError(f"--workers {wanted}: the cluster has {has}, and each worker needs one; say at most {room}")
    each = max(1, sum(cpus) // wanted)
    while sum(count // each for count in cpus) < wanted:
        each -= 1
    return wanted, each, int(use_gpus)


def _packed(row: Row, answer: Any) -> dict[str, Any]:
    if isinstance(answer, SampleError):
        return {"row": row.number, "error": str(answer)}
    return {"row": row.number, "prediction": answer}


def _unpacked(answers: Any, path: Path) -> list[tuple[Row, Any]]:
    if isinstance(answers, dict):
        kind: type[MmkitError] = getattr(errors, answers["kind"], MmkitError)
        raise kind(answers["message"])
    rows = [Row(answer["row"], f"{path}:{answer['row']}", {}) for answer in answers]
    return [
        (row, SampleError(answer["error"]) if "error" in answer else answer["prediction"])
        for row, answer in zip(rows, answers, strict=True)
    ]
