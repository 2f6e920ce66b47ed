"""What stands in the way of private training: parts in which samples are not apart from each other."""

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING

from mmkit.errors import Problem
from mmkit.wiring.graph import Plan

if TYPE_CHECKING:
    from torch import nn


def spec_problems(plan: Plan) -> list[Problem]:
    """Settings of stages and data that private sampling cannot keep to."""
    spec = plan.spec
    if spec.train is None or spec.train.privacy is None:
        return []
    problems = []
    for index, stage in enumerate(spec.train.stages):
        if stage.tokens_per_batch:
            location = ("train", "stages", index, "tokens_per_batch")
            message = "train.privacy draws every row with one probability, and tokens_per_batch lets lengths decide"
            problems.append(plan.source.problem(location, message, "give batch_size, the expected rows of a step"))
    for index, source in enumerate(spec.data.train if spec.data else ()):
        if source.streaming:
            location = ("data", "train", index, "streaming")
            message = "train.privacy draws every row with one probability, and a streaming source has no number of rows"
            problems.append(plan.source.problem(location, message, "leave streaming out"))
    return problems


def coupling_problems(
    plan: Plan, index: int, modules: "Mapping[str, nn.Module]", trained: Collection[str], tasks: Collection[str]
) -> list[Problem]:
    """Of one stage: nodes with batch statistics, and losses over several samples.

    Args:
        modules: every node. trained: those of which something trains. tasks: those with training data.
    """
    from torch.nn.modules.batchnorm import _NormBase

    if plan.spec.train is None or plan.spec.train.privacy is None:
        return []
    problems = []
    stage = plan.spec.train.stages[index]
    for node, module in modules.items():
        module.train()  # a component may keep some layers out of training mode
        layers = [
            (name, part) for name, part in module.named_modules() if isinstance(part, _NormBase) and part.training
        ]
        names = [name for name, part in layers if _keeps(part)]
        if names and (node in trained or not any(True for _ in module.parameters())):
            message = (
                f"stage {stage.name} trains {node}, whose {names[0]} keeps statistics of batches: samples are not apart "
                "from each other there, and what it keeps has no noise"
            )
            fix = (
                f"leave {node} out of train, so that it is frozen, or use a component with layer or group normalisation"
            )
            problems.append(plan.source.problem(("train", "stages", index, "train"), message, fix))
    if index == 0:
        for task in tasks:
            head = modules[f"{task}.head"]
            if getattr(head, "couples_samples", False):
                name = plan.tasks[task].head.component.full_name
                message = f"the loss of {name} compares samples with each other, so no sample has a gradient of its own"
                fix = "leave this task out of data.train, train it without train.privacy, or use a head that looks at one sample"
                problems.append(plan.source.problem(("tasks", task, "head"), message, fix))
    return problems


def _keeps(part: "nn.Module") -> bool:
    from torch import nn

    batch = isinstance(part, nn.modules.batchnorm._BatchNorm)
    return batch or bool(getattr(part, "track_running_stats", False))
