"""What heads say of their predictions to programs: their form, and the embedding of one side alone."""

from typing import Any

import jsonschema
import pytest
import torch

import mmkit

TEXT = {"text": "one two"}


def build(head: dict[str, Any], **task: Any) -> mmkit.Model:
    torch.manual_seed(0)
    spec = {
        "mmkit": 1,
        "modalities": {"text": {"encoder": {"use": "gru", "vocabulary": {"use": "characters"}, "embedding_dim": 4, "hidden_dim": 6}},
                       "other": {"encoder": {"use": "gru", "vocabulary": {"use": "characters"}, "embedding_dim": 4, "hidden_dim": 5}}},
        "tasks": {"t": {"input": "{text}", "output": "{y}", "reads": "text.encoder", "head": head, **task}},
    }  # fmt: skip
    return mmkit.build(spec, fit={"text": ["one two"], "other": ["three"]}).eval()


@pytest.mark.parametrize(
    "head",
    [
        {"use": "classify", "labels": ["a", "b", 3]},
        {"use": "classify", "labels": ["a", "b"], "binary": True},
        {"use": "classify", "labels": ["a", "b", "c"], "multi_label": True, "threshold": 0.1},
        {"use": "regress"},
        {"use": "regress", "dims": 3},
    ],
    ids=["classify", "binary", "several", "number", "numbers"],
)
def test_predictions_have_the_form_that_the_head_says(head: dict[str, Any]) -> None:
    model = build(head)
    schema = model.parts.heads["t"].answer_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    jsonschema.validate(model.predict("t", TEXT), schema)
    assert schema
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate("something else", schema)


def test_one_side_is_embedded_as_it_is_beside_the_other() -> None:
    model = build(
        {"use": "contrastive", "dim": 4}, input="{text} {other}", output=None, reads=["text.encoder", "other.encoder"]
    )
    head = model.parts.heads["t"]
    both = model.predict("t", {**TEXT, "other": "three"})
    jsonschema.validate(both, head.answer_schema())
    assert head.embeds
    for place, (name, value) in enumerate((("text", "one two"), ("other", "three"))):
        sample = model.preparer().alone("t", name, value)
        from mmkit.model.batch import pack
        from mmkit.model.model import Run

        with torch.no_grad():
            run = Run(model, pack([sample], model.processors()))
            (found,) = head.embed_one(place, run.read(f"{name}.encoder", [0])).tolist()
        assert found == pytest.approx(both["ab"[place]], abs=1e-6)
        with pytest.raises(mmkit.SampleError, match="there is nothing to embed: the value gives no features"):
            head.embed_one(place, mmkit.Ragged.of([torch.zeros(0, 5 + (place == 0))]))
