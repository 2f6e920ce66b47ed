"""Streams → hidden states, in one pass and step by step."""

import torch

from mmkit.ragged import Ragged
from mmkit.testing.bench import Letters
from mmkit.testing.check import NotApplicable, check, require
from mmkit.testing.subject import BackboneSubject, Subject

_BACKBONE = ("backbone",)


def _generating(subject: Subject) -> BackboneSubject:
    assert isinstance(subject, BackboneSubject)
    if not subject.built.generates:
        raise NotApplicable("it does not generate")
    return subject


@check("bronze", _BACKBONE, "give token_dim and hidden_dim as attributes, and embed ids at token_dim")
def ids_are_embedded(subject: Subject) -> None:
    """Ids become rows of token_dim; where it generates, hidden states become a score for every id."""
    made, ids = subject.built, torch.arange(4)
    require(made.token_dim > 0 and made.hidden_dim > 0, "token_dim and hidden_dim have to be above 0")
    try:
        rows = made.embed(ids)
    except Exception as error:
        raise NotApplicable(f"it takes no ids: {error}") from None
    require(tuple(rows.shape) == (4, made.token_dim), f"embed gives {list(rows.shape)}")
    if made.generates:
        scores = made.logits(torch.randn(3, made.hidden_dim))
        require(scores.shape[0] == 3 and scores.shape[1] >= Letters.size, f"logits gives {list(scores.shape)}")


@check("bronze", _BACKBONE, "mask later positions, so that a target token sees itself and earlier ones only")
def later_targets_are_not_seen(subject: Subject) -> None:
    """A hidden state does not change when later target tokens do."""
    subject = _generating(subject)
    prompt, target = subject.inputs[1]
    changed = target.clone()
    changed[-1] += 1.0
    before, after = subject.outputs([(prompt, target)]).values, subject.outputs([(prompt, changed)]).values
    subject.close(after[:-1], before[:-1], "states before the changed token")
    require(not torch.equal(after[-1], before[-1]), "the state of the changed token itself stays the same")


@check("bronze", _BACKBONE, "let every target position see the whole prompt")
def prompts_are_seen(subject: Subject) -> None:
    """Hidden states of the target change with every token of the prompt."""
    subject = _generating(subject)
    prompt, target = subject.inputs[1]
    before = subject.outputs([(prompt, target)]).values
    for place in (0, len(prompt) - 1):
        changed = prompt.clone()
        changed[place] += 1.0
        after = subject.outputs([(changed, target)]).values
        require(not torch.equal(after, before), f"token {place} of the prompt makes no difference")


@check("bronze", _BACKBONE, "let prefill and step give what forward gives at that position")
def steps_are_the_forward_pass(subject: Subject) -> None:
    """Decoding step by step gives the hidden states of the teacher-forced pass, items of any length together."""
    subject = _generating(subject)
    steps = min(len(target) for _, target in subject.inputs) + 1
    width = subject.built.token_dim
    targets = [torch.cat([target, target.new_zeros(steps, width)])[:steps] for _, target in subject.inputs]
    with torch.no_grad():
        state = subject.built.prefill(Ragged.of([prompt for prompt, _ in subject.inputs]))
        got = [subject.built.step(state, torch.stack([target[n] for target in targets])) for n in range(steps)]
    wanted = subject.outputs([(prompt, target) for (prompt, _), target in zip(subject.inputs, targets, strict=True)])
    for place, rows in enumerate(wanted.split()):
        subject.close(torch.stack([step[place] for step in got]), rows, f"item {place} step by step", times=5)


@check("silver", _BACKBONE, "select every part of the state along its items in reorder")
def states_are_reordered(subject: Subject) -> None:
    """Items of a decoding state can be dropped, repeated and put in another order."""
    subject = _generating(subject)
    order = [2, 0, 2]
    token = torch.randn(len(subject.inputs), subject.built.token_dim, generator=torch.Generator().manual_seed(3))
    prompts = Ragged.of([prompt for prompt, _ in subject.inputs])
    with torch.no_grad():
        wanted = subject.built.step(subject.built.prefill(prompts), token)[order]
        got = subject.built.step(subject.built.prefill(prompts).reorder(torch.tensor(order)), token[order])
    subject.close(got, wanted, "reordered beside the original", times=5)


@check("silver", _BACKBONE, "let output_layer give the weights that logits multiplies by, or None")
def output_layer_gives_the_scores(subject: Subject) -> None:
    """Where it names an output layer, that layer gives its scores."""
    subject = _generating(subject)
    layer = subject.built.output_layer()
    if layer is None:
        raise NotApplicable("its scores are more than one linear layer")
    hidden = torch.randn(5, subject.built.hidden_dim, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        got = torch.nn.functional.linear(hidden, *layer)
        wanted = subject.built.logits(hidden)
    subject.close(got, wanted, "the output layer beside logits")
