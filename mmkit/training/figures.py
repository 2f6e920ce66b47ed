"""The figures of evaluations that are kept beside a saved model, ``figures.json``, for its model card."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from mmkit.errors import CheckpointError
from mmkit.model.folder import MANIFEST, digest, dump_json, read_json
from mmkit.training.evaluate import TaskResult

FIGURES = "figures.json"
_FORMAT = 1


@dataclass(frozen=True)
class Kept:
    """The figures of one task on one part of the data.

    Attributes:
        rows: that were predicted. limit: most rows a source, where the evaluation was cut short.
        metrics: finite numbers only.
    """

    part: str
    task: str
    rows: int
    limit: int | None
    metrics: Mapping[str, float]


def keep(folder: Path, part: str, results: Mapping[str, TaskResult], limit: int | None) -> Path:
    """Write figures into the folder of the model that they are of; those of other parts stay, while the model is the same.

    Raises:
        CheckpointError: the folder is no saved model, or cannot be written.
    """
    made = [
        Kept(
            part,
            task,
            len(result.predictions),
            limit,
            {n: float(v) for n, v in result.metrics.items() if _is_finite(v)},
        )
        for task, result in results.items()
    ]
    others = [one for one in kept(folder) or () if one.part != part]
    record = {"format": _FORMAT, "model": _model_of(folder), "figures": [asdict(one) for one in (*others, *made)]}
    path, fresh = folder / FIGURES, folder / f".{FIGURES}.writing"
    try:
        dump_json(fresh, record)
        fresh.replace(path)
    except OSError as error:
        raise CheckpointError(
            f"cannot write {path}: {error.strerror}; evaluate a copy of the folder that you own"
        ) from error
    return path


def kept(folder: Path) -> list[Kept] | None:
    """Figures of the model that the folder holds now; None where there are some of an older one.

    Raises:
        CheckpointError: the file is damaged.
    """
    if not (folder / FIGURES).is_file():
        return []
    record = read_json(folder, FIGURES)
    if record.get("model") != _model_of(folder):
        return None
    try:
        return [_read(one) for one in record["figures"]]
    except (KeyError, TypeError, ValueError, AttributeError):
        message = f"{folder / FIGURES} holds no figures of format {_FORMAT}; remove it, and evaluate with --keep again"
        raise CheckpointError(message) from None


def _read(one: Mapping[str, Any]) -> Kept:
    metrics = {str(name): float(value) for name, value in one["metrics"].items() if _is_finite(value)}
    limit = None if one["limit"] is None else int(one["limit"])
    return Kept(str(one["part"]), str(one["task"]), int(one["rows"]), limit, metrics)


def _is_finite(value: Any) -> bool:
    return math.isfinite(float(value))


def _model_of(folder: Path) -> str:
    """The SHA-256 of the manifest, which has those of all files."""
    read_json(folder, MANIFEST)
    return digest(folder / MANIFEST)


__all__ = ["FIGURES", "Kept", "keep", "kept"]
