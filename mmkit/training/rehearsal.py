"""All stages on a model without weights, so that a glob of the last stage fails before the first one is trained."""

from collections.abc import Collection

from mmkit.errors import Problem, SpecError
from mmkit.model.lora import merge
from mmkit.model.model import Model
from mmkit.model.quantize import require_bitsandbytes
from mmkit.training.adapt import attach_lora
from mmkit.training.stages import apply_stage
from mmkit.wiring.construct import construct
from mmkit.wiring.empty import empty_weights
from mmkit.wiring.graph import Plan


def rehearse(planned: Plan, tasks: Collection[str]) -> None:
    """Go through the stages' globs and adapters.

    Args:
        tasks: those with training data.

    Raises:
        SpecError: every glob and target that matches nothing, of every stage.
        TrainingError: bitsandbytes is wanted and not installed.
    """
    settings = planned.spec.train
    if settings is None:
        return
    if any(stage.lora and stage.lora.bits for stage in settings.stages):
        require_bitsandbytes()
    with empty_weights():
        model = Model(planned, construct(planned, load_weights=False, require_fitted=False))
        problems: list[Problem] = []
        for index, stage in enumerate(settings.stages):
            try:
                attach_lora(model, stage, index)
                apply_stage(model, stage, index, tasks)
            except SpecError as error:
                problems += error.problems
            merge(model)
    if problems:
        raise SpecError(problems)
