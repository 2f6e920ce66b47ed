"""All stages on a model without weights, so that a glob of the last stage fails before the first one is trained."""

from collections.abc import Collection

from mmkit.errors import SpecError
from mmkit.model.lora import merge
from mmkit.model.model import Model
from mmkit.model.quantize import require_bitsandbytes
from mmkit.training.adapt import attach_lora
from mmkit.training.stages import apply_stage
from mmkit.wiring.construct import construct
from mmkit.wiring.empty import empty_weights
from mmkit.wiring.graph import Plan
from mmkit.wiring.private import coupling_problems, spec_problems


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
    problems = spec_problems(planned)
    if any(stage.lora and stage.lora.bits for stage in settings.stages):
        require_bitsandbytes()
    with empty_weights():
        model = Model(planned, construct(planned, load_weights=False, require_fitted=False))
        for index, stage in enumerate(settings.stages):
            try:
                attach_lora(model, stage, index)
                apply_stage(model, stage, index, tasks)
                problems += coupling_problems(planned, index, model.nodes(), _trained(model), tasks)
            except SpecError as error:
                problems += error.problems
            merge(model)
    if problems:
        raise SpecError(problems)


def _trained(model: Model) -> set[str]:
    """Nodes of which something trains now."""
    return {name for name, node in model.nodes().items() if any(p.requires_grad for p in node.parameters())}
