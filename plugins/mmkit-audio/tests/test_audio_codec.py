"""The mel codec: trained, read as a vocabulary, and what is refused."""

import json
import pickle
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmkit_audio.audio_codes import AudioCodes, build
from mmkit_audio.codec_config import AudioCodesConfig
from mmkit_audio.codec_conformance import spec
from mmkit_audio.conformance import tone
from mmkit_audio.frame_distance import FrameDistance
from mmkit_audio.trained_codec import TrainedCodec

import mmkit
from mmkit import BuildContext, PluginError, Ragged, SampleError, SpecError

CLIPS = [{"array": tone(0.4 + 0.07 * n, 8000), "sampling_rate": 8000} for n in range(6)]


def codes_of(folder: Path, context: BuildContext | None = None, **options: Any) -> AudioCodes:
    config = AudioCodesConfig(codec=folder, **options)
    return build(context or BuildContext(), **{name: getattr(config, name) for name in AudioCodesConfig.model_fields})


@pytest.fixture(scope="module", params=["residual", "group"])
def saved(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("codec") / "model"
    encoder = spec()["modalities"]["audio"]["encoder"]
    return mmkit.build(spec({**_plain(encoder), "codebooks": 2, "split": request.param}), seed=1).save(folder)


def _plain(use: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in use.items() if name != "use"}


def test_training_brings_the_sounds_back(tmp_path: Path) -> None:
    import soundfile

    for n, clip in enumerate(CLIPS):
        soundfile.write(tmp_path / f"{n}.wav", clip["array"], 8000)
    rows = [json.dumps({"audio": f"{n}.wav"}) for n in range(len(CLIPS))]
    (tmp_path / "rows.jsonl").write_text("\n".join(rows), "utf-8")
    given = spec()
    source = [{"task": "rebuild", "path": str(tmp_path / "rows.jsonl")}]
    given["data"] = {"train": source, "test": source}
    stage = {"name": "all", "steps": 60, "batch_size": 6, "lr": 3e-3}
    given["train"] = {"stages": [stage]}
    before = mmkit.evaluate(mmkit.build(given, seed=0))["rebuild"].metrics
    after = mmkit.evaluate(mmkit.train(given, output=tmp_path / "run", seed=0))["rebuild"].metrics
    assert after["loss"] < 0.3 * before["loss"]
    assert after["mel_distance"] < 0.7 * before["mel_distance"]


def test_codes_are_the_rows_that_the_trained_encoder_gives(saved: Path) -> None:
    model, codec = mmkit.load(saved), codes_of(saved)
    encoder: Any = model.nodes()["audio.encoder"]
    processor = encoder.processor()
    with torch.no_grad():
        rows = encoder(processor.collate([processor(clip) for clip in CLIPS]))
    for clip, wanted in zip(CLIPS, rows.split(), strict=True):
        codes = codec.quantize(clip)
        assert torch.equal(codes, encoder.quantizer.numbers(wanted))
        assert codec.encode(clip) == (codes + torch.tensor([0, 20])).flatten().tolist()
    assert codec.size == 42
    assert codec.frame_rate == 12.5


def test_a_sound_is_what_the_trained_head_predicts(saved: Path) -> None:
    codec = codes_of(saved, iterations=4)
    predicted = mmkit.load(saved).predict("rebuild", [{"audio": clip} for clip in CLIPS])
    for clip, wanted in zip(CLIPS, predicted, strict=True):
        got = codec.decode(codec.encode(clip))
        assert got["sampling_rate"] == wanted["sampling_rate"] == 8000
        assert got["array"].dtype == np.float32
        assert np.allclose(got["array"], wanted["array"], atol=1e-3 * np.abs(wanted["array"]).max())


def test_no_codes_are_no_sound(saved: Path) -> None:
    assert len(codes_of(saved).decode([])["array"]) == 0


def test_a_checkpoint_needs_the_codec_no_more(saved: Path, tmp_path: Path) -> None:
    copy = tmp_path / "codec"
    shutil.copytree(saved, copy)
    codec = codes_of(copy)
    wanted = [codec.encode(clip) for clip in CLIPS]
    (tmp_path / "assets").mkdir()
    codec.save_assets(tmp_path / "assets")
    data = pickle.dumps(codec)
    shutil.rmtree(copy)
    assert sorted(path.name for path in (tmp_path / "assets").iterdir()) == ["codec.json", "codec.safetensors"]
    for again in (codes_of(copy, BuildContext(assets=tmp_path / "assets")), pickle.loads(data)):
        assert [again.encode(clip) for clip in CLIPS] == wanted


def test_a_codec_saved_before_codebooks_could_be_groups_is_read(tmp_path: Path) -> None:
    settings = {
        "mel": {"sample_rate": 8000, "n_mels": 20, "window_ms": 40, "hop_ms": 20, "stride": 4},
        "levels": [5, 4],
        "codebooks": 2,
        "encoder": {"dim": 16, "layers": 1, "kernel": 3},
        "decoder": {"dim": 16, "layers": 1, "kernel": 3},
    }
    (tmp_path / "codec.json").write_text(json.dumps(settings), "utf-8")
    (tmp_path / "codec.safetensors").write_bytes(b"")
    assert TrainedCodec.load(tmp_path).settings.split == "residual"


def test_clips_as_long_as_allowed_are_coded_and_longer_ones_refused(saved: Path) -> None:
    codec = codes_of(saved, max_seconds=0.5)
    assert codec.layout.longest_frames == len(codec.quantize({"array": tone(0.5, 8000), "sampling_rate": 8000}))
    with pytest.raises(SampleError) as caught:
        codec.encode({"array": tone(0.6, 8000), "sampling_rate": 8000})
    assert str(caught.value) == (
        "audio array of shape (4800,): 0.6 s long; at most 0.5 s are decoded: cut it, or raise max_seconds"
    )


def test_a_sound_without_samples_is_refused(saved: Path) -> None:
    with pytest.raises(SampleError) as caught:
        codes_of(saved).encode({"array": np.zeros(0, np.float32), "sampling_rate": 8000})
    assert str(caught.value) == "audio array of shape (0,): no samples"


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PluginError) as caught:
        codes_of(tmp_path)
    assert str(caught.value) == (
        f"codec {str(tmp_path)!r} is no saved model: it has no spec.json; train one with fsq-audio and rebuild-mel, "
        "and give the folder that mmkit train wrote"
    )


def test_a_model_that_is_no_codec_is_refused(saved: Path, tmp_path: Path) -> None:
    other = json.loads((saved / "spec.json").read_text("utf-8"))
    other["tasks"]["rebuild"]["head"]["use"] = "regress"
    (tmp_path / "spec.json").write_text(json.dumps(other), "utf-8")
    with pytest.raises(PluginError) as caught:
        codes_of(tmp_path)
    assert str(caught.value) == f"codec {str(tmp_path)!r} has no task with the head rebuild-mel; such tasks: none"
    with pytest.raises(PluginError) as caught:
        codes_of(saved, task="rebuilt")
    assert (
        str(caught.value)
        == f"codec {str(saved)!r} has no task 'rebuilt' with the head rebuild-mel; such tasks: rebuild"
    )


def test_two_tasks_that_rebuild_need_a_choice(saved: Path, tmp_path: Path) -> None:
    other = json.loads((saved / "spec.json").read_text("utf-8"))
    other["tasks"]["second"] = other["tasks"]["rebuild"]
    (tmp_path / "spec.json").write_text(json.dumps(other), "utf-8")
    with pytest.raises(PluginError) as caught:
        codes_of(tmp_path)
    assert str(caught.value) == (
        f"codec {str(tmp_path)!r} has several tasks with rebuild-mel; name one as task: rebuild, second"
    )
    assert TrainedCodec.of(tmp_path, "second").task == "second"


def test_a_head_that_contradicts_its_encoder_is_refused() -> None:
    given = spec(head={"dim": 16, "hop_ms": 10})
    with pytest.raises((PluginError, SpecError)) as caught:
        mmkit.build(given)
    assert "rebuild-mel: hop_ms is 10, of the encoder that it reads 20; leave it out of the head" in str(caught.value)


def test_a_head_behind_other_rows_says_what_does_not_fit() -> None:
    model = mmkit.build(spec(), seed=0)
    head: Any = model.nodes()["rebuild.head"]
    target = head.target(CLIPS[0])
    with pytest.raises(PluginError) as caught:
        head.loss([Ragged.sized(torch.zeros(9, 2), [9])], Ragged.of([target]))
    assert str(caught.value) == (
        "rebuild-mel: by its settings a sound has 20 log-mel frames, but the node it reads gives 9 rows of 4 frames each; "
        "sample_rate, hop_ms and stride have to be those of the encoder"
    )


def test_mel_distance_is_the_root_mean_square_in_decibels() -> None:
    head: Any = mmkit.build(spec(), seed=0).nodes()["rebuild.head"]
    quieter = [{**clip, "array": 0.1 * clip["array"]} for clip in CLIPS]
    metric: FrameDistance = head.metrics()[0]
    metric.update(quieter, CLIPS)
    assert metric.compute()["mel_distance"] == pytest.approx(20, abs=0.01)
    same = head.metrics()[0]
    same.update(CLIPS, CLIPS)
    assert same.compute() == {"mel_distance": 0.0}


def test_a_text_model_with_codes_of_sounds_is_checked_and_built(saved: Path, clips: Sequence[Any]) -> None:
    given = {
        "mmkit": 1,
        "modalities": {"audio": {"adapter": {"use": "audio-codes", "codec": str(saved), "max_seconds": 3}}},
        "backbone": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
        "tasks": {
            "pitch": {"input": "{audio}", "output": "{label}", "head": {"use": "classify", "labels": ["a", "b"]}}
        },
    }
    rows = mmkit.check(given)
    assert any(row.tokens == 26 for row in rows)  # a second: 13 frames of two codes
    model = mmkit.build(given, seed=0)
    assert len(model.predict("pitch", [{"audio": clip} for clip in clips])) == 3
