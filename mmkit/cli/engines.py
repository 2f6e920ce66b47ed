"""What predicts a file of rows: this process, or the machines of a Ray cluster."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from mmkit.cli.prediction import Answers, Predictor, predicted_here
from mmkit.cli.rows import Row
from mmkit.errors import MmkitError, nearest

ENGINES = ("local", "ray")


def names(incomplete: str) -> list[str]:
    """For the shell's completion."""
    return [name for name in ENGINES if name.startswith(incomplete)]


@dataclass(frozen=True)
class Engine:
    """One of them; ``workers`` are Ray's."""

    name: str
    workers: int | None
    batch_size: int
    device: str | None

    def check(self, rows: Path | None, row: str | None) -> None:
        """Before anything is loaded.

        Raises:
            MmkitError: options that do not go together, or Ray is not installed.
        """
        if rows is not None and row is not None:
            raise MmkitError("--row and --rows exclude each other")
        if self.name not in ENGINES:
            raise MmkitError(f"there is no engine {self.name!r}: {nearest(self.name, ENGINES)}")
        if self.name != "ray":
            if self.workers is not None:
                raise MmkitError("--workers belongs to --engine ray")
            return
        if rows is None or str(rows) == "-":
            raise MmkitError("--engine ray predicts a file that all machines see: give it by --rows FILE.jsonl")
        from mmkit.cli.ray_engine import require_ray

        require_ray()

    @property
    def own_device(self) -> str | None:
        """Where this process has the model: Ray's workers have the GPUs."""
        return "cpu" if self.name == "ray" else self.device

    def answers(self, predictor: Predictor, folder: Path, path: Path, rows: Iterator[Row]) -> Answers:
        """Answers to the rows of the path, with the model of the folder.

        Raises:
            MmkitError: whatever a worker raises.
        """
        if self.name != "ray":
            return predicted_here(predictor, rows, self.batch_size)
        from mmkit.cli.ray_engine import Job, predicted_by_ray

        root = str((predictor.root or path).absolute())
        job = Job(
            str(folder.absolute()),
            predictor.task,
            predictor.options,
            str(path.absolute()),
            root,
            self.device,
            predictor.files,
        )
        return predicted_by_ray(job, path, self.batch_size, self.workers)
