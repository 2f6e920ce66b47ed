"""A stage's low-rank adapters: from globs in the spec to named layers."""

from torch import nn

from mmkit.errors import Problem, SpecError, nearest
from mmkit.model.lora import Lora, adaptable, attach, plain_name
from mmkit.model.model import Model
from mmkit.spec.schema import LoraOptions, Stage
from mmkit.wiring.graph import matches


def is_lora(name: str) -> bool:
    """Whether a parameter belongs to an adapter."""
    return ".lora_" in name


def has_lora(model: Model, node: str) -> bool:
    """Whether a layer of the node has an adapter."""
    return any(is_lora(f".{name}") for name, _ in model.nodes()[node].named_parameters())


def attach_lora(model: Model, stage: Stage, index: int) -> None:
    """Attach the stage's adapters, if it has any; those of an earlier stage that were kept apart train on.

    Raises:
        SpecError: a target matches no linear layer, or a layer has other adapters already.
    """
    if stage.lora is None:
        return
    wanted = _lora(model, stage, stage.lora, index)
    if wanted in model.lora:
        return
    both = sorted({name for lora in model.lora for name in lora.modules} & set(wanted.modules))
    if both:
        message = f"{len(both)} layers have adapters of an earlier stage that were kept apart, the first is {both[0]}"
        fix = "give both stages the same lora, or set lora.merge: true in the earlier one"
        raise SpecError([model.plan.source.problem(("train", "stages", index, "lora"), message, fix)])
    attach(model, wanted)


def _lora(model: Model, stage: Stage, options: LoraOptions, index: int) -> Lora:
    named = _layers(model)
    problems: list[Problem] = []
    chosen: list[str] = []
    for position, pattern in enumerate(options.targets):
        matched = [name for name in named if matches(name, pattern)]
        if not matched:
            ends = sorted({name.rpartition(".")[2] for name in named} | set(model.nodes()))
            message = f"{pattern!r} matches no linear layer: {nearest(pattern.rpartition('.')[2], ends)}"
            location = ("train", "stages", index, "lora", "targets", position)
            problems.append(model.plan.source.problem(location, message))
        chosen += matched
    if not options.targets:
        chosen = _default_targets(model, stage, named)
        if not chosen:
            message = "no backbone that `train` names whole has linear layers to adapt"
            fix = "name them: lora: {targets: [image.encoder]}; layers: " + (", ".join(list(named)[:5]) or "none")
            problems.append(model.plan.source.problem(("train", "stages", index, "lora"), message, fix))
    modules = tuple(full for name, (full, _) in named.items() if name in set(chosen))
    problems += _tied(model, modules, index) if options.merge else []
    if problems:
        raise SpecError(problems)
    alpha = float(2 * options.r if options.alpha is None else options.alpha)
    return Lora(modules, options.r, alpha, options.dropout, options.dora, options.merge, options.bits)


def _layers(model: Model) -> dict[str, tuple[str, nn.Module]]:
    """Linear layers as globs name them (``backbone.lm.…``) → their full name in the model, and the layer itself."""
    full = {id(module): name for name, module in model.named_modules()}
    named = {}
    for node, module in model.nodes().items():
        for name, layer in adaptable(module).items():
            if not is_lora(f".{name}"):
                inside = name.removesuffix(".base_layer")
                named[f"{node}.{inside}"] = full[id(layer)].removesuffix(".base_layer"), layer
    return named


def _default_targets(model: Model, stage: Stage, named: dict[str, tuple[str, nn.Module]]) -> list[str]:
    """Every linear layer of the backbones that ``train`` names whole, without the output layer: the only one of its
    name that is as wide as the vocabulary."""
    chosen = []
    for node in model.parts.backbones:
        if any(matches(node, pattern) for pattern in stage.train):
            own = [name for name in named if name.startswith(f"{node}.")]
            ends = [name.rpartition(".")[2] for name in own]
            for name, end in zip(own, ends, strict=True):
                width = getattr(named[name][1], "out_features", None)
                if ends.count(end) > 1 or width != model.parts.vocabulary_size:
                    chosen.append(name)
    return chosen


def _tied(model: Model, modules: tuple[str, ...], index: int) -> list[Problem]:
    """A weight that another module shares would be changed there too by a merge."""
    owners: dict[int, list[str]] = {}
    for name, parameter in model.named_parameters(remove_duplicate=False):
        owners.setdefault(id(parameter), []).append(name)
    for name in modules:
        layer: nn.Module = model.get_submodule(name)
        layer = getattr(layer, "base_layer", layer)
        others = [o for o in owners.get(id(layer.weight), []) if not plain_name(o).startswith(f"{name}.")]
        if others:
            message = f"{name} shares its weight with {others[0]}, so merging its adapter would change both"
            fix = "leave it out of lora.targets, or set lora.merge: false"
            return [model.plan.source.problem(("train", "stages", index, "lora"), message, fix)]
    return []
