"""Where figures go beside the log: TensorBoard, W&B, MLflow, Trackio, by the callbacks of transformers."""

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmkit.errors import SpecError
from mmkit.wiring.graph import Plan


def trackers(planned: Plan, output: Path) -> Callable[[str, int], list[Any]]:
    """What makes the callbacks of a stage, given a name for its folder of logs and the step it starts after.

    Raises:
        SpecError: a tracker is named that is not installed.
    """
    settings = planned.spec.train
    wanted = settings.trackers if settings else None
    if wanted is None:
        wanted = ["tensorboard"] if find_spec("tensorboard") else []
    missing = [
        planned.source.problem(
            ("train", "trackers", index), f"tracker {name!r} is not installed", f"pip install {name}, or leave it out"
        )
        for index, name in enumerate(wanted)
        if find_spec(name) is None
    ]
    if missing:
        raise SpecError(missing)
    return lambda stage, after: [_callback(name, output / "logs" / stage, after) for name in wanted]


def _callback(name: str, folder: Path, after: int) -> Any:
    from transformers.integrations import integration_utils

    if name == "tensorboard":
        from torch.utils.tensorboard import SummaryWriter

        # what a run that died, or an earlier one in this folder, logged for later steps is not shown
        return integration_utils.TensorBoardCallback(SummaryWriter(str(folder), purge_step=after + 1))
    return integration_utils.INTEGRATION_TO_CALLBACK[name]()
