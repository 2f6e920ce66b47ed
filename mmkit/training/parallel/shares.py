"""What one process does of every optimizer step, so that all of them together do what the spec says."""

import math

from mmkit.errors import SpecError
from mmkit.spec.schema import Stage
from mmkit.wiring.graph import Plan


def share(stage: Stage, index: int, world: int, planned: Plan) -> Stage:
    """The stage as each of ``world`` processes runs it: its share of the passes of a step, then of the samples or tokens
    of a pass. A step takes as many samples as with one process, and, with a fixed number of them, the same ones.

    Raises:
        SpecError: the samples of a step cannot be shared evenly.
    """
    passes = math.gcd(stage.accumulate, world)
    parts, accumulate = world // passes, stage.accumulate // passes
    if stage.tokens_per_batch:
        tokens = max(1, stage.tokens_per_batch // parts)
        return stage.model_copy(update={"accumulate": accumulate, "tokens_per_batch": tokens})
    size = stage.batch_size or 1
    if size % parts:
        samples = f"{size} × {stage.accumulate}" if stage.accumulate > 1 else str(size)
        message = f"{samples} samples a step cannot be shared evenly by {world} processes"
        fix = f"make batch_size × accumulate a multiple of {world}, or start another number of processes"
        raise SpecError([planned.source.problem(("train", "stages", index, "batch_size"), message, fix)])
    return stage.model_copy(update={"accumulate": accumulate, "batch_size": size // parts})
