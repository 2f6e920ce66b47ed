"""The component in a whole model: trained one step, saved, loaded, asked."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from mmkit.model.checkpoint import load
from mmkit.model.model import Model
from mmkit.testing.assembled import answers, assemble, example, packed
from mmkit.testing.bench import registry
from mmkit.testing.check import KINDS, NotApplicable, check, require
from mmkit.testing.compare import difference
from mmkit.testing.subject import Subject
from mmkit.testing.worker import asked, elsewhere
from mmkit.wiring.check import check as check_spec


@check("bronze", KINDS, "see the message; build what `mmkit check` builds without weights")
def example_spec_is_valid(subject: Subject) -> None:
    """`mmkit check` accepts a spec with the component, and says how many parameters it has."""
    spec, _ = example(subject)
    try:
        json.dumps(spec)
    except TypeError as error:
        raise NotApplicable(f"its options cannot be written in a file: {error}") from None
    rows = check_spec(spec, registry=registry())
    require(any(row.component == subject.component.full_name for row in rows), "the component is not in the table")


@check("bronze", KINDS, "see the message")
def trains_a_step(subject: Subject) -> None:
    """One training step in a whole model has a finite loss, lowers it on the same batch, and changes its weights."""
    model, rows = assemble(subject)
    model.train()
    batch = packed(model, rows)
    own = _own(subject, model)
    before = {name: p.detach().clone() for name, p in own.items()}
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    torch.manual_seed(0)
    loss = model(batch)["loss"]
    require(bool(loss.isfinite()), f"the loss is {loss}")
    loss.backward()
    optimizer.step()
    still = [name for name, p in own.items() if p.requires_grad and torch.equal(p, before[name])]
    require(not own or len(still) < len(own), "no weight of the component changed")


@check("bronze", KINDS, "keep every weight in parameters or buffers, and everything else in save_assets")
def model_round_trips(subject: Subject) -> None:
    """A whole model saved and loaded answers the same, bit for bit."""
    with _saved(subject) as (model, rows, folder):
        text = difference(answers(load(folder, registry=registry()), rows), answers(model, rows), 0.0)
    require(not text, text)


@check("silver", KINDS, "rely on nothing that only the process which made the model has")
def fresh_process_answers_the_same(subject: Subject) -> None:
    """A saved model, loaded in a process that is started anew, answers the same."""
    with _saved(subject) as (model, rows, folder):
        text = difference(elsewhere(asked, folder, rows), answers(model, rows), subject.case.tolerance)
    require(not text, text)


@check("bronze", KINDS, "let no sample see another, at any node")
def answers_do_not_depend_on_others(subject: Subject) -> None:
    """A sample alone is answered as among others."""
    model, rows = assemble(subject)
    model.eval()
    together = answers(model, rows)
    for place, row in enumerate(rows):
        text = difference(answers(model, [row])[0], together[place], subject.case.tolerance)
        require(not text, f"sample {place}: {text}")


@contextmanager
def _saved(subject: Subject) -> Iterator[tuple[Model, list[Mapping[str, Any]], Path]]:
    """The example's model, its samples, and the folder it is saved in for as long."""
    model, rows = assemble(subject)
    model.eval()
    with tempfile.TemporaryDirectory(dir=subject.folder) as name:
        yield model, rows, model.save(Path(name) / "model")


def _own(subject: Subject, model: Model) -> dict[str, torch.nn.Parameter]:
    """Parameters of the nodes that are this component."""
    nodes = {placed.node for placed in model.plan.placed() if placed.component == subject.component}
    found = {}
    for name, module in model.nodes().items():
        if name in nodes:
            found.update({f"{name}.{key}": p for key, p in module.named_parameters()})
    return found
