"""The loss of every row of a file, each alone."""

from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from numpy import ndarray

from mmkit.data.loading import Quarantine, loader
from mmkit.data.sources import open_source
from mmkit.errors import MmkitError
from mmkit.model.model import Model
from mmkit.spec.schema import Data, DataSource


@torch.no_grad()
def row_losses(model: Model, task: str, path: str | Path, limit: int | None = None) -> Float[ndarray, " rows"]:
    """Mean loss a target of each row, in evaluation mode; bad rows are left out under ``data.max_bad``.

    Raises:
        MmkitError: the task compares samples with each other, or no row can be used.
        DataError: the file cannot be read, or too many of its rows are bad.
    """
    model.known(task)
    if model.parts.heads[task].couples_samples:
        name = model.plan.tasks[task].head.component.full_name
        raise MmkitError(f"task {task!r} cannot be audited: the loss of {name} compares samples with each other")
    data = model.plan.spec.data or Data()
    rows = open_source(DataSource(task=task, path=str(Path(path).resolve()), limit=limit), data, Path.cwd())
    quarantine, found = Quarantine(data.max_bad), []
    was = model.training
    model.eval()
    try:
        for batch in loader(model, [rows], 1):
            quarantine.add(batch)
            if batch.tasks:
                total, count = model(batch.to(model.device))["losses"][task]
                found.append(float(total) / max(1, count))
    finally:
        model.train(was)
    quarantine.close()
    if not found:
        raise MmkitError(f"{path} has no row that can be used")
    return np.array(found)
