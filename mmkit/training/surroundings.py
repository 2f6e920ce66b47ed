"""What all stages of a run share."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from mmkit.data.sources import Rows
from mmkit.errors import MmkitError
from mmkit.model.model import Model
from mmkit.spec.schema import Train
from mmkit.training.checkpoints import Checkpoints
from mmkit.training.interrupts import Interrupts
from mmkit.training.parallel.ranks import Ranks
from mmkit.training.privacy.budget import Budget
from mmkit.training.trainer import PackedTrainer
from mmkit.training.validation import Validation

Say = Callable[[str], None]
Step = Callable[[str, int, int, dict[str, float]], None]


@dataclass(frozen=True)
class Surroundings:
    """What all stages of a run share; each trains inside of ``watch``."""

    model: Model
    settings: Train
    sources: Sequence[Rows]
    checkpoints: Checkpoints
    validation: Validation | None
    interrupts: Interrupts
    say: Say
    step: Step | None
    trackers: Callable[[str, int], list[Any]]
    callbacks: Sequence[Any]
    ranks: Ranks
    watch: Callable[[PackedTrainer], AbstractContextManager[object]] = nullcontext
    privacy: Budget | None = None

    def save(self, write: Callable[[], object]) -> None:
        """Let the first rank write what all of them could; the others wait.

        Raises:
            CheckpointError: it cannot be written.
        """
        error = None
        if self.privacy is not None:
            self.model.privacy = self.privacy.record()
        try:
            if self.ranks.first:
                write()
        except MmkitError as caught:
            if self.ranks.world == 1:
                raise
            error = caught
        self.ranks.agree([], error)

    def position(self, stage: int, step: int) -> dict[str, Any]:
        """The part of ``training.json`` that says where a checkpoint is."""
        best = self.validation.state_dict() if self.validation else None
        place = {"run": self.checkpoints.run, "stage": stage, "step": step, "validation": best}
        return {**place, "privacy": self.privacy.state()} if self.privacy else place
