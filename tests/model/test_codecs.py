"""Values that a codec writes are generated as texts are: whole, in batches as alone, streamed, guided."""

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import torch

import mmkit
from mmkit.model.decoder import Decoder
from mmkit.model.generate import OPTIONS
from tests.model.support.codecs import CODE, PICTURES, ROWS, SOUNDS, batch_of, learnt


@pytest.fixture
def make(install: Callable[..., Any]) -> Callable[..., mmkit.Model]:
    """A small model that reads and writes texts, pictures and sounds."""
    install("codecs", CODE)

    def build(pattern: str = "flat", head: dict[str, Any] | None = None, **sound: Any) -> mmkit.Model:
        generate = {"use": "generate", **(head or {})}
        spec = {
            "mmkit": 1,
            "modalities": {
                "text": {"adapter": {"use": "characters"}},
                "picture": {"adapter": {"use": "tiles"}},
                "sound": {"adapter": {"use": "tones", "pattern": pattern, **sound}},
            },
            "backbone": {"use": "transformer", "dim": 32, "layers": 2, "heads": 2},
            "tasks": {
                "draw": {"input": "draw {text}", "output": "{picture}", "head": generate},
                "say": {"input": "say {text}", "output": "{sound}", "head": generate},
                "name": {"input": "{picture}{sound}", "output": "{text}", "head": {"use": "generate"}},
            },
        }
        return mmkit.build(spec, fit={"text": ["draw say", *PICTURES]}, seed=0)

    return build


@pytest.mark.parametrize("pattern", ["flat", "delay"])
def test_one_model_learns_to_draw_to_speak_and_to_name(make: Any, pattern: str) -> None:
    model = learnt(make(pattern), ["draw", "say", "name"])
    assert model.predict("draw", ROWS) == list(PICTURES.values())
    assert model.predict("say", ROWS) == list(SOUNDS.values())
    assert model.predict("name", ROWS) == list(PICTURES)


@pytest.mark.parametrize("pattern", ["flat", "delay"])
def test_an_untrained_model_writes_only_whole_values(make: Any, pattern: str) -> None:
    model = make(pattern)
    for seed in range(5):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            pictures = model.predict("draw", ROWS, temperature=3.0, seed=seed)
            sounds = model.predict("say", ROWS, temperature=3.0, seed=seed)
        assert all(len(picture) == 6 and max(picture) < 8 for picture in pictures)
        assert all(len(sound) <= 6 and all(0 <= a < 8 and 0 <= b < 8 for a, b in sound) for sound in sounds)
    assert model.predict("draw", ROWS[0], beams=3) != []


@pytest.mark.parametrize("pattern", ["flat", "delay"])
@pytest.mark.parametrize(
    "options", [{}, {"temperature": 1.0, "top_k": 5, "seed": 3}, {"temperature": 0.7, "top_p": 0.8}]
)
def test_values_are_the_same_alone_and_in_a_batch(make: Any, pattern: str, options: dict[str, Any]) -> None:
    model = make(pattern)
    for task in ("draw", "say"):
        assert model.predict(task, ROWS * 3, **options) == [model.predict(task, row, **options) for row in ROWS] * 3


def test_every_sample_may_have_a_seed_of_its_own(make: Any) -> None:
    model, row = make(), ROWS[0]
    drawn = model.predict("draw", [row] * 4, temperature=2.0, seed=[0, 1, 2, 1])
    assert drawn == [model.predict("draw", row, temperature=2.0, seed=seed) for seed in (0, 1, 2, 1)]
    assert drawn[0] != drawn[1]


def test_an_evaluation_draws_every_row_for_itself(make: Any, write_rows: Callable[..., Any]) -> None:
    model = make(head={"temperature": 2.0, "seed": 5})
    spec = {**model.plan.source.data, "data": {"test": [{"task": "draw", "path": str(write_rows([ROWS[0]] * 3))}]}}
    model = mmkit.build(spec, fit={"text": ["draw say", *PICTURES]}, seed=0)
    drawn = mmkit.evaluate(model, batch_size=2)["draw"].predictions
    assert drawn == [model.predict("draw", ROWS[0], seed=seed) for seed in (5, 6, 7)]


def test_the_codebooks_of_a_step_are_predicted_from_one_state(make: Any) -> None:
    """The loss by hand: the rows of a step's ids are summed, and each id is scored by the state before it."""
    model = make("delay").eval()
    row = ROWS[0]
    batch = batch_of(model, ["say"], [row])
    backbone, vocabulary, offset = model.backbones["backbone"], model.vocabularies["sound"], model.offsets["sound"]
    ids = torch.tensor([*vocabulary.encode(row["sound"]), vocabulary.end_id, vocabulary.end_id])
    before = torch.cat([torch.full((2,), vocabulary.begin_id), ids[:-2]]) + offset
    inputs = backbone.embed(before).view(-1, 2, backbone.token_dim).sum(1)
    prompt = mmkit.Ragged.of([backbone.embed(batch.ids)])
    hidden = backbone(prompt, mmkit.Ragged.of([inputs])).values
    scores = backbone.logits(hidden)[:, offset : offset + vocabulary.size].repeat_interleave(2, 0)
    wanted = torch.nn.functional.cross_entropy(scores, ids, reduction="sum")
    total, count = model(batch)["losses"]["say"]
    assert count == len(ids)
    assert torch.allclose(total, wanted, atol=1e-5)


def test_losses_of_a_mixed_batch_are_those_of_its_samples_alone(make: Any) -> None:
    model = make("delay").eval()
    tasks = ["draw", "say", "name"]
    together = model(batch_of(model, tasks))["losses"]
    for task in tasks:
        alone = sum(model(batch_of(model, [task], [row]))["losses"][task][0] for row in ROWS)
        assert torch.allclose(together[task][0], alone, atol=1e-4)


@pytest.mark.parametrize("pattern", ["flat", "delay"])
def test_guidance_is_the_weighted_difference_of_two_prompts(make: Any, pattern: str) -> None:
    model = make(pattern, {"input_dropout": 0.5}).eval()
    backbone, vocabulary, offset = model.backbones["backbone"], model.vocabularies["sound"], model.offsets["sound"]
    prompts = mmkit.Ragged.of([torch.randn(4, 32), torch.randn(2, 32)])
    last = torch.full((vocabulary.streams,), vocabulary.begin_id)

    def scores(decoder: Decoder, prompt: mmkit.Ragged) -> torch.Tensor:
        return decoder._logits(backbone.prefill(prompt), last)

    with torch.inference_mode():
        plain = Decoder(backbone, vocabulary, offset)
        given, free = (scores(plain, prompts.select([i])).log_softmax(-1) for i in range(2))
        guided = scores(Decoder(backbone, vocabulary, offset, 3.0), prompts)
    seen = torch.isfinite(given)
    assert torch.allclose((free + 3.0 * (given - free))[seen].diff(), guided[seen].diff(), atol=1e-3)
    assert model.predict("say", ROWS * 2, guidance=3.0) == [model.predict("say", r, guidance=3.0) for r in ROWS] * 2


def test_guidance_of_one_is_none(make: Any) -> None:
    model = make(head={"input_dropout": 0.5})
    assert model.predict("draw", ROWS, guidance=1.0) == model.predict("draw", ROWS)


def test_guidance_needs_a_model_that_was_trained_for_it(make: Any) -> None:
    with pytest.raises(mmkit.MmkitError) as caught:
        make().predict("draw", ROWS[0], guidance=2.0)
    assert str(caught.value) == (
        "guidance of task 'draw' needs a model that knows its prompt without columns; "
        "fix: train it with input_dropout: 0.1 in its head"
    )


def test_beams_fit_neither_guidance_nor_several_ids_a_step(make: Any) -> None:
    with pytest.raises(mmkit.MmkitError) as caught:
        make("delay").predict("say", ROWS[0], beams=2)
    assert (
        str(caught.value) == "beams > 1 and 'sound', which has 2 ids a step, exclude each other; decode with beams: 1"
    )
    with pytest.raises(mmkit.MmkitError) as caught:
        make(head={"input_dropout": 0.5}).predict("draw", ROWS[0], beams=2, guidance=2.0)
    assert str(caught.value) == "beams > 1 and guidance exclude each other; decode with beams: 1"


def test_training_leaves_columns_out_and_evaluation_does_not(make: Any) -> None:
    model = make(head={"input_dropout": 0.5})
    from dataclasses import replace

    prepare = replace(model.preparer(), training=True)
    torch.manual_seed(0)
    sizes = [len(prepare("draw", ROWS[0]).parts) for _ in range(200)]
    assert set(sizes) == {1, 2}
    assert 60 < sizes.count(1) < 140
    assert {len(model.preparer()("draw", ROWS[0]).parts) for _ in range(20)} == {2}


def test_a_value_that_was_cut_holds_what_was_there_and_says_so(make: Any) -> None:
    model = learnt(make(), ["draw"])
    with pytest.warns(UserWarning, match="max_new_tokens") as caught:
        assert model.predict("draw", ROWS, max_new_tokens=4) == [picture[:4] for picture in PICTURES.values()]
    assert [str(one.message) for one in caught] == [
        "task 'draw': 3 of 3 outputs reached max_new_tokens = 4 before they ended and hold what was there by then; "
        "raise max_new_tokens"
    ]


def test_a_file_is_quantised_once_until_it_changes(make: Any, tmp_path: Any) -> None:
    codec, calls = make().vocabularies["picture"], []
    codec.quantize = lambda raw: (calls.append(raw), torch.arange(6)[:, None])[1]
    path = tmp_path / "a.bin"
    path.write_bytes(b"one")
    values = (b"one", {"bytes": b"one"}, str(path), path, {"path": str(path)}, [0, 1])
    assert [codec.encode(value) for value in values * 2] == [[0, 1, 2, 3, 4, 5]] * 12
    assert calls == [b"one", str(path), [0, 1], [0, 1]]
    path.write_bytes(b"other")
    codec.encode(path)
    assert calls[4:] == [path]
    assert codec.encode(str(tmp_path / "none")) == [0, 1, 2, 3, 4, 5]


def test_codes_beyond_their_size_are_refused(make: Any) -> None:
    with pytest.raises(mmkit.SampleError) as caught:
        make(damaged=True).preparer()("say", ROWS[0])
    assert str(caught.value) == "9 is no code: they go from 0 to 7; was a file of codes damaged?"


def test_a_vocabulary_that_breaks_its_size_is_named(make: Any) -> None:
    make()
    spec = {
        "mmkit": 1,
        "modalities": {"odd": {"adapter": {"use": "wild"}}},
        "backbone": {"use": "lstm", "embedding_dim": 4, "hidden_dim": 4},
        "tasks": {"go": {"input": "{odd}", "output": "{odd}", "head": {"use": "generate"}}},
    }
    model = mmkit.build(spec)
    with pytest.raises(mmkit.PluginError) as caught:
        model.predict("go", {"odd": "x"})
    assert str(caught.value) == (
        "codecs/wild gave id 7 for column 'odd', its ids go from 0 to 4; is a file of codes damaged, or were they made "
        "with another codec?"
    )
    with pytest.raises(mmkit.PluginError) as caught:
        model.preparer()._target("go", "odd", "x")
    assert "codecs/wild gave id 7 for column 'odd'" in str(caught.value)


def test_codes_are_never_cut_to_fit_a_budget(make: Any) -> None:
    from mmkit.data.cutting import sizes, split, truncate

    model = make()
    sample = model.preparer()("name", {**ROWS[0], "text": "redredred"})
    size = sizes(sample, ["name"])
    short = truncate(sample, size, size.total - 4)
    assert [part.ids for part in short.parts] == [part.ids for part in sample.parts]  # type: ignore[union-attr]
    assert short.target is not None
    assert len(short.target) == 6
    drawn = model.preparer()("draw", ROWS[0])
    with pytest.raises(mmkit.SampleError):
        split(drawn, sizes(drawn, ["draw"]), 7)


@pytest.mark.parametrize("pattern", ["flat", "delay"])
def test_pieces_of_a_stream_are_the_prediction(make: Any, pattern: str) -> None:
    model = learnt(make(pattern), ["draw", "say", "name"])
    row = ROWS[2]
    pictures = list(model.stream("draw", row))
    assert [piece.value for piece in pictures] == [[0] * 3, [0] * 6, [0] * 6]
    assert {piece.replaces for piece in pictures} == {True}
    sounds = list(model.stream("say", row))
    assert [piece.value for piece in sounds] == [SOUNDS["dark"][0:2], SOUNDS["dark"][2:4], SOUNDS["dark"][4:6], None]
    assert [piece.last for piece in sounds] == [False, False, False, True]
    assert {(piece.modality, piece.replaces) for piece in sounds} == {("sound", False)}
    texts = [piece.value for piece in model.stream("name", row)]
    assert texts == ["d", "a", "r", "k", ""]


def test_only_what_is_generated_can_be_streamed(mood: dict[str, Any]) -> None:
    model = mmkit.build(mood, fit={"text": ["a b"]})
    with pytest.raises(mmkit.MmkitError) as caught:
        next(model.stream("mood", {"text": "a"}))
    assert str(caught.value) == "task 'mood' does not generate, so there is nothing to stream; use predict"
    with pytest.raises(mmkit.MmkitError) as caught:
        next(model.stream("mod", {"text": "a"}))
    assert str(caught.value) == "there is no task 'mod': did you mean 'mood'?"


def test_streams_know_no_beams(make: Any) -> None:
    with pytest.raises(mmkit.MmkitError) as caught:
        next(make().stream("draw", ROWS[0], beams=2))
    assert str(caught.value) == "beams > 1 cannot be streamed: which text wins is known at the end; use predict"


def test_all_options_have_a_default_in_the_head(make: Any) -> None:
    assert set(make().heads["draw"].options()) == set(OPTIONS)
