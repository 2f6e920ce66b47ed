"""Samples that never see each other, and as many rows as promised."""

import torch

from mmkit.ragged import Ragged
from mmkit.testing.check import check, require
from mmkit.testing.subject import Subject

_ITEMS = ("encoder", "adapter", "backbone")


@check("bronze", _ITEMS, "give one item of the Ragged for each item of the batch, in order")
def one_output_an_item(subject: Subject) -> None:
    """As many items come out as go in, each of the declared width."""
    output = subject.outputs()
    require(len(output) == len(subject.inputs), f"{len(subject.inputs)} items went in, {len(output)} came out")
    names = {"encoder": "feature_dim", "adapter": "out_dim", "backbone": "hidden_dim"}
    name = names[subject.component.kind]
    width = getattr(subject.built, name)
    require(output.values.dim() == 2, f"the values have the shape {list(output.values.shape)}, wanted two axes")
    require(output.values.shape[1] == width, f"{name} is {width}, the rows are {output.values.shape[1]} wide")


@check("bronze", _ITEMS, "let num_features (encoder) or num_tokens (adapter) follow the arithmetic of forward exactly")
def promised_rows_are_given(subject: Subject) -> None:
    """Every item becomes as many rows as was promised before the forward pass."""
    kind, got = subject.component.kind, subject.outputs().sizes
    if kind == "encoder":
        processor = subject.built.processor()
        promised = [processor.num_features(item) for item in subject.inputs]
    elif kind == "adapter":
        promised = [subject.built.num_tokens(len(item)) for item in subject.inputs]
    else:
        promised = [len(prompt if target is None else target) for prompt, target in subject.inputs]
    require(got == promised, f"promised were {promised} rows, given are {got}")
    require(min(promised) > 0, "an item became no rows at all")


@check("bronze", _ITEMS, "mask padding in attention and convolutions, and take no statistics over the batch")
def alone_is_packed(subject: Subject) -> None:
    """An item alone gives the same rows as in a batch with others."""
    for place, (item, rows) in enumerate(zip(subject.inputs, subject.outputs().split(), strict=True)):
        subject.close(subject.outputs([item]).values, rows, f"item {place} alone beside packed")


@check("bronze", _ITEMS, "keep the order of the items; nothing may depend on an item's place in the batch")
def order_does_not_matter(subject: Subject) -> None:
    """Items in another order give the same rows in that order."""
    order = list(range(len(subject.inputs)))[::-1]
    rows = subject.outputs().split()
    turned = subject.outputs([subject.inputs[place] for place in order])
    for place, got in zip(order, turned.split(), strict=True):
        subject.close(got, rows[place], f"item {place} in another order")


@check("silver", ("head",), "sum the loss over targets, and count the same targets")
def loss_adds_up(subject: Subject) -> None:
    """The summed loss and the count of a batch are the sums over its samples alone."""
    whole = subject.loss(subject.built, subject.inputs)  # type: ignore[attr-defined]
    alone = [subject.loss(subject.built, [item]) for item in subject.inputs]  # type: ignore[attr-defined]
    require(whole.count == sum(loss.count for loss in alone), f"the count is {whole.count}")
    require(whole.count > 0, "the count is 0")
    total = torch.stack([loss.total.detach().reshape(()) for loss in alone]).sum()
    subject.close(whole.total.detach().reshape(()), total, "the loss of the batch beside the sum")


@check("silver", ("adapter",), "allow items of one row, and batches of one item")
def every_length_is_taken(subject: Subject) -> None:
    """Items of 1 to 40 rows become as many tokens as promised."""
    adapter = subject.built
    lengths = list(range(1, 41))
    width = subject.context()["in_dim"]
    with torch.no_grad():
        got = adapter(Ragged(torch.randn(sum(lengths), width), torch.tensor(lengths)))
    promised = [adapter.num_tokens(length) for length in lengths]
    require(got.sizes == promised, f"promised were {promised}, given are {got.sizes}")
