"""transformers audio encoders, compared with transformers."""

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmkit_audio.config import HfAudioConfig
from mmkit_audio.conformance import WHISPER
from mmkit_audio.hf_audio import HfAudio, build
from pydantic import ValidationError
from transformers import (
    AutoModel,
    Wav2Vec2FeatureExtractor,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

from mmkit import BuildContext, PluginError

WAVE = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "conv_dim": [16] * 7,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 2,
}


def made(context: BuildContext | None = None, **options: Any) -> HfAudio:
    torch.manual_seed(0)
    return build(context or BuildContext(), **HfAudioConfig(**options).model_dump()).eval()


def batch_of(encoder: Any, clips: Sequence[Any]) -> Any:
    processor = encoder.processor()
    return processor.collate([processor(clip) for clip in clips])


@pytest.fixture
def whisper(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    folder = tmp_path / "whisper"
    config = {name: value for name, value in WHISPER.items() if name != "model_type"} | {"encoder_layers": 2}
    WhisperForConditionalGeneration(WhisperConfig(**config)).save_pretrained(folder)
    WhisperFeatureExtractor().save_pretrained(folder)
    return folder


@pytest.fixture(params=["wav2vec2", "hubert", "wavlm", "data2vec-audio", "unispeech"])
def tower(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    torch.manual_seed(1)
    model = AutoModel.from_config(CONFIG_MAPPING[request.param](**WAVE))
    model.save_pretrained(tmp_path / "tower")
    Wav2Vec2FeatureExtractor().save_pretrained(tmp_path / "tower")
    return tmp_path / "tower"


def test_whisper_features_are_those_of_transformers(whisper: Path, clips: Sequence[Any]) -> None:
    encoder = made(path=whisper)
    reference = WhisperForConditionalGeneration.from_pretrained(whisper).eval().get_encoder()
    processor = encoder.processor()
    items = [processor(clip) for clip in clips]
    waves = [item["wave"].numpy() for item in items]
    features = WhisperFeatureExtractor()(waves, sampling_rate=16_000, return_tensors="pt").input_features
    with torch.no_grad():
        wanted = reference(features).last_hidden_state
        got = encoder(processor.collate(items)).split()
    for wave, rows, given in zip(waves, got, wanted, strict=True):
        assert rows.shape[0] == -(-(len(wave) // 160) // 2)
        torch.testing.assert_close(rows, given[: rows.shape[0]], atol=1e-4, rtol=1e-4)


def test_a_clip_beyond_thirty_seconds_is_read_in_pieces(whisper: Path) -> None:
    encoder = made(path=whisper, window=1.0)
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000 * 65).astype(np.float32)
    whole, tail = ({"array": part, "sampling_rate": 16_000} for part in (noise, noise[16_000 * 60 :]))
    with torch.no_grad():
        features = encoder(batch_of(encoder, [whole, tail])).split()
    assert [rows.shape[0] for rows in features] == [1500 + 1500 + 250, 250]
    torch.testing.assert_close(features[0][3000:], features[1], atol=1e-5, rtol=0)


def test_wave_features_are_those_of_transformers(tower: Path, clips: Sequence[Any]) -> None:
    encoder = made(path=tower)
    reference = AutoModel.from_pretrained(tower).eval()
    extractor = Wav2Vec2FeatureExtractor()
    processor = encoder.processor()
    raw = made(path=tower).processor()
    for clip in clips:
        item = processor(clip)
        plain = raw(clip)["wave"].numpy()
        values = extractor(plain, sampling_rate=16_000, return_tensors="pt").input_values
        with torch.no_grad():
            wanted = reference(values).last_hidden_state[0]
            got = encoder(processor.collate([item]))
        assert got.sizes == [processor.num_features(item)] == [wanted.shape[0]]
        torch.testing.assert_close(got.values, wanted, atol=2e-4, rtol=1e-3)


@pytest.mark.parametrize("window", [None, 0.5])
def test_a_clip_is_the_same_alone_and_among_others(tower: Path, clips: Sequence[Any], window: float | None) -> None:
    encoder = made(path=tower, window=window)
    with torch.no_grad():
        together = encoder(batch_of(encoder, clips)).split()
        for clip, rows in zip(clips, together, strict=True):
            torch.testing.assert_close(encoder(batch_of(encoder, [clip])).values, rows, atol=1e-5, rtol=0)


def test_whisper_is_the_same_alone_and_among_others(whisper: Path, clips: Sequence[Any]) -> None:
    encoder = made(path=whisper, window=0.5)
    with torch.no_grad():
        together = encoder(batch_of(encoder, clips)).split()
        for clip, rows in zip(clips, together, strict=True):
            torch.testing.assert_close(encoder(batch_of(encoder, [clip])).values, rows, atol=1e-5, rtol=0)


def test_layers_are_the_hidden_states(whisper: Path, tower: Path, clips: Sequence[Any]) -> None:
    for folder in (whisper, tower):
        states = [made(path=folder, layer=layer) for layer in (0, 1, -2)]
        with torch.no_grad():
            first, second, same = (encoder(batch_of(encoder, clips[2:])).values for encoder in states)
        assert torch.equal(second, same)
        assert not torch.equal(first, second)
    with pytest.raises(PluginError) as error:
        made(path=whisper, layer=3)
    assert str(error.value) == "layer 3: 'whisper' has 2 layers; allowed: -3 to 2"


def test_a_saved_encoder_needs_no_original(whisper: Path, tower: Path, tmp_path: Path, clips: Sequence[Any]) -> None:
    for folder in (whisper, tower):
        encoder = made(path=folder)
        assets = tmp_path / f"assets-{folder.name}"
        assets.mkdir()
        encoder.save_assets(assets)
        shutil.rmtree(folder)
        again = made(BuildContext(assets=assets, load_weights=False), path=folder)
        again.load_state_dict(encoder.state_dict())
        with torch.no_grad():
            batch = batch_of(encoder, clips)
            assert torch.equal(again(batch).values, encoder(batch).values)
        assert again.processor() == encoder.processor()


def test_gradients_flow(tower: Path, clips: Sequence[Any]) -> None:
    encoder = made(path=tower)
    encoder(batch_of(encoder, clips[2:])).values.square().sum().backward()
    assert all(p.grad is not None for n, p in encoder.named_parameters() if "encoder.layers" in n)


def test_wrong_sources_are_explained(whisper: Path, tmp_path: Path) -> None:
    def message(**options: Any) -> str:
        with pytest.raises(PluginError) as error:
            made(**options)
        return str(error.value)

    assert message(path=whisper, sample_rate=8000) == (
        "sample_rate 8000: the weights were trained at 16000 samples a second; leave sample_rate out, "
        "clips are resampled"
    )
    assert message(path=tmp_path / "no") == f"'{tmp_path / 'no'}' has no config.json; wanted a folder in the hub's form"
    assert message(config={"model_type": "whispr"}) == (
        "config.model_type 'whispr' is no audio encoder that hf-audio knows; did you mean 'whisper'?"
    )
    assert message(config={"model_type": "whisper", "d_modl": 3}) == (
        "config.d_modl: the architecture 'whisper' has no such setting; did you mean 'd_model'?"
    )
    (tmp_path / "bert").mkdir()
    (tmp_path / "bert" / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert message(path=tmp_path / "bert") == (
        "'bert' is no audio encoder that hf-audio knows; allowed: whisper, wav2vec2, hubert, wavlm, data2vec-audio, "
        "unispeech, unispeech-sat"
    )
    with pytest.raises(ValidationError, match="give exactly one of path"):
        HfAudioConfig(path=whisper, hub="x")


def test_missing_weights_are_an_error(whisper: Path) -> None:
    from safetensors.torch import load_file, save_file

    weights = load_file(whisper / "model.safetensors")
    del weights["model.encoder.conv1.weight"]
    save_file(weights, whisper / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(PluginError, match=r"do not fit 'whisper': 1 of \d+ keys missing \(first: '"):
        made(path=whisper)
