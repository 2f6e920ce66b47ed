"""Which engine trains a stage."""

from mmkit.model.model import Model
from mmkit.spec.schema import Train
from mmkit.training.parallel.engines import Alone, Engine, Replicated
from mmkit.training.parallel.ranks import Ranks
from mmkit.training.stages import Trainable


def engine(model: Model, trained: Trainable, settings: Train, ranks: Ranks) -> Engine:
    """By ``train.parallel``; none of it in a single process."""
    if ranks.world == 1:
        return Alone(model, trained)
    if settings.parallel == "fsdp2":
        from mmkit.training.parallel.sharded import Sharded

        return Sharded(model, trained, ranks)
    return Replicated(model, trained)
