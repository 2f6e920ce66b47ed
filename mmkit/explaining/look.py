"""Where the backbone looked, by columns."""

from typing import Any

import torch
from jaxtyping import Float, Int
from torch import Tensor

from mmkit.errors import MmkitError
from mmkit.explaining.explanation import Attention, Part
from mmkit.explaining.inputs import Inputs
from mmkit.explaining.question import Question, pieces_of
from mmkit.explaining.rollout import places, relevance, rollout
from mmkit.interfaces import Attentive, Explainable, SoftAdapter
from mmkit.model.batch import Ids
from mmkit.model.model import Model, Run
from mmkit.ragged import Ragged
from mmkit.spec.template import Literal

ROLLOUT, RELEVANCE = "rollout", "relevance"
_LEAST = 1e-30


def has_attention(model: Model, task: str) -> bool:
    """Whether an explanation of this task may show attention."""
    head = model.parts.heads[task]
    try:
        return attentive(model, task) is not None and (head.autoregressive or isinstance(head, Explainable))
    except MmkitError:
        return False


def attentive(model: Model, task: str) -> Any:
    """The backbone that the task reads.

    Raises:
        MmkitError: it has no attention that can be seen, or does not read the stream.
    """
    reads = model.plan.tasks[task].reads
    found = [model.parts.backbones[node] for node in reads if node in model.parts.backbones]
    if len(reads) != 1 or not found:
        fault = f"it reads {', '.join(reads)}, and no backbone"
    elif model.plan.backbones[reads[0]].reads:
        fault = f"{reads[0]} does not read the columns themselves, but what other nodes made of them"
    elif not isinstance(found[0], Attentive):
        who = model.plan.backbones[reads[0]].placed.component.full_name
        fault = f"its backbone {who} has none to show (one that has it has the method watched of mmkit.Attentive)"
    else:
        return found[0]
    raise MmkitError(f"attention of task {task!r} cannot be shown: {fault}; fix: leave attention out")


def look(asked: Question, inputs: Inputs, backbone: Any) -> Attention:
    """One pass over the sample with its attention kept, and the gradients of the score with respect to it.

    The rows that are asked are those that the head reads, each as much as the score moves with it: the norm of its gradient.

    Raises:
        MmkitError: the backbone gives no weights. PluginError: its architecture has none.
    """
    run = inputs.run([given.value[None].detach().requires_grad_() for given in inputs.all])
    states: list[Ragged] = []
    handles = [
        backbone.register_forward_pre_hook(_differentiable),
        backbone.register_forward_hook(lambda module, given, found: states.append(found)),
    ]
    try:
        with backbone.watched() as layers:
            total = asked(run).sum()
    finally:
        for handle in handles:
            handle.remove()
    if not layers:
        raise MmkitError(f"attention of task {asked.task!r} cannot be shown: its backbone kept none of its weights")
    size, read = places(layers), states[-1].values
    wanted = [read, *(layer.weights for layer in layers)]
    found = torch.autograd.grad(total, wanted, allow_unused=True)
    norms, *gradients = (
        torch.zeros_like(like) if one is None else one for one, like in zip(found, wanted, strict=True)
    )
    first = size - 1 - len(read) if asked.model.parts.heads[asked.task].autoregressive else 0
    asking = torch.zeros(size, dtype=torch.float64)
    asking[first : first + len(read)] = norms.double().norm(dim=-1).cpu()
    asking = asking / asking.sum().clamp(min=_LEAST)
    both = torch.stack([asking @ rollout(layers, size), asking @ relevance(layers, gradients, size)])
    both = (both / both.sum(1, keepdim=True).clamp(min=_LEAST)).float()
    parts, template, end = _parts(asked, run, both)
    shares = [
        {name: float(sum(one.attribution.sum() for one in own[kind::2])) for name, own in parts.items()}
        for kind in (0, 1)
    ]
    rest = {"template": template, "answer": _pair(both[:, end:-1]), "other": _pair(both[:, -1:])}
    return Attention(len(layers), layers[0].weights.shape[-3], parts, shares[0], shares[1], rest)


def _parts(
    asked: Question, run: Run, both: Float[Tensor, "2 size"]
) -> tuple[dict[str, tuple[Part, ...]], tuple[float, float], int]:
    """Column → parts; what the template's own words have; where the prompt ends."""
    inputs_of, names = asked.model.plan.tasks[asked.task].parts, asked.model.plan.tasks[asked.task].modality_of
    found: dict[str, tuple[Part, ...]] = {}
    start, words, items = 0, torch.zeros(2), dict[str, int]()
    for given, part in zip(inputs_of, asked.sample.parts, strict=True):
        end = start + (len(part.ids) if isinstance(part, Ids) else part.tokens)
        own = both[:, start:end]
        start = end
        if isinstance(given, Literal):
            words += own.sum(1)
            continue
        if isinstance(part, Ids):
            pieces = pieces_of(asked, names[given.column], part)
        else:
            item = items.get(part.modality, 0)
            items[part.modality] = item + 1
            own, pieces = _by_row(asked, run, part.modality, item, own)
        new = tuple(
            Part(key, row, row, pieces, len(found.get(given.column, ())) // 2)
            for key, row in zip((ROLLOUT, RELEVANCE), own, strict=True)
        )
        found[given.column] = (*found.get(given.column, ()), *new)
    return found, _pair(words[:, None]), start


def _differentiable(module: Any, given: tuple[Ragged, ...]) -> tuple[Ragged, ...]:
    """Rows that hang on no input, such as the answer's, get gradients, too: attention that reads only them has then one."""
    return tuple(
        one if one.values.requires_grad else one.replace(one.values.detach().requires_grad_()) for one in given
    )


def _pair(shares: Float[Tensor, "2 n"]) -> tuple[float, float]:
    first, second = shares.sum(1).tolist()
    return first, second


def _by_row(
    asked: Question, run: Run, modality: str, item: int, tokens: Float[Tensor, "2 tokens"]
) -> tuple[Float[Tensor, "2 rows"], tuple[str, ...]]:
    """What the tokens have, for each row of the encoder's features; or as it is, with the tokens' numbers."""
    features, _ = run.features[f"{modality}.encoder"]
    rows = features.values.split(run.batch.features[modality].tolist())[item].detach()
    adapter = asked.model.parts.adapters.get(f"{modality}.adapter")
    owner = torch.arange(len(rows)) if adapter is None else token_of_rows(adapter, rows)
    if owner is None:
        return tokens, tuple(str(number) for number in range(1, tokens.shape[1] + 1))
    counts = owner.bincount(minlength=tokens.shape[1])
    return (tokens / counts.clamp(min=1))[:, owner], ()


def token_of_rows(adapter: SoftAdapter, features: Float[Tensor, "rows dim"]) -> Int[Tensor, " rows"] | None:
    """The token that each row of an item's features goes into, seen by gradients; None where a row goes into several
    tokens, or into none, or where a token has no row: then tokens have no place among the rows."""
    with torch.enable_grad():
        rows = features.clone().requires_grad_()
        tokens = adapter(Ragged.sized(rows, [len(rows)])).values
        goes = [torch.autograd.grad(token.abs().sum(), rows, retain_graph=True)[0].ne(0).any(1) for token in tokens]
    table = torch.stack(goes).cpu() if goes else torch.zeros(0, len(features), dtype=torch.bool)
    if (table.sum(0) != 1).any() or (table.sum(1) == 0).any():
        return None
    return table.int().argmax(0)
