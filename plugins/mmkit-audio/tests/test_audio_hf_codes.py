"""EnCodec, Mimi and DAC as vocabularies, beside transformers' own calls."""

import pickle
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mmkit_audio.codec_config import HfAudioCodesConfig
from mmkit_audio.codec_conformance import DAC, ENCODEC, MIMI
from mmkit_audio.conformance import tone
from mmkit_audio.hf_audio_codes import HfAudioCodes, build
from transformers import AutoConfig, AutoModel

from mmkit import BuildContext, PluginError, SampleError

KINDS: Mapping[str, dict[str, Any]] = {"encodec": ENCODEC, "mimi": MIMI, "dac": DAC}
RATES = {"encodec": 75.0, "mimi": 12.5, "dac": 16000 / 512}


def vocabulary(context: BuildContext | None = None, **options: Any) -> HfAudioCodes:
    config = HfAudioCodesConfig(**options)
    return build(context or BuildContext(), **{name: getattr(config, name) for name in HfAudioCodesConfig.model_fields})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Random weights in the hub's form, with codebooks that differ."""
    made = {}
    for name, config in KINDS.items():
        torch.manual_seed(0)
        model = AutoModel.from_config(AutoConfig.for_model(**config))
        for key, tensor in model.state_dict().items():
            if key.endswith(("codebook.embed", "embed_sum", "codebook.weight")):
                tensor.normal_(std=0.1)
        made[name] = tmp_path_factory.mktemp(name)
        model.save_pretrained(made[name])
    return made


def clip(rate: int) -> dict[str, Any]:
    return {"array": tone(0.7, rate), "sampling_rate": rate}


def theirs(name: str, folder: Path, raw: dict[str, Any]) -> tuple[torch.Tensor, torch.Tensor]:
    """Codes and sound by the model's own encode and decode."""
    model: Any = AutoModel.from_pretrained(folder).eval()
    wave = torch.from_numpy(raw["array"])[None, None]
    with torch.no_grad():
        if name == "encodec":
            given = model.encode(wave, bandwidth=1.2)
            return given.audio_codes[0, 0].T, model.decode(given.audio_codes, given.audio_scales).audio_values
        if name == "mimi":
            codes = model.encode(wave).audio_codes
            return codes[0].T, model.decode(codes).audio_values
        wave = torch.nn.functional.pad(wave, (0, -wave.shape[-1] % 512))
        codes = model.encode(wave).audio_codes
        return codes[0].T, model.decode(audio_codes=codes).audio_values


@pytest.mark.parametrize("name", sorted(KINDS))
def test_codes_and_sounds_are_those_of_transformers(name: str, folders: dict[str, Path]) -> None:
    codec = vocabulary(path=folders[name])
    raw = clip(codec.prepared.sample_rate)
    codes, sound = theirs(name, folders[name], raw)
    got = codec.quantize(raw)
    assert torch.equal(got, codes)
    assert len(got.unique()) > 3
    assert codec.frame_rate == RATES[name]
    again = codec.decode(codec.encode(raw))
    assert again["sampling_rate"] == codec.prepared.sample_rate
    assert np.allclose(again["array"], sound.flatten().numpy(), atol=1e-5)


@pytest.mark.parametrize("name", sorted(KINDS))
def test_fewer_codebooks_are_the_first_ones(name: str, folders: dict[str, Path]) -> None:
    whole, part = vocabulary(path=folders[name]), vocabulary(path=folders[name], codebooks=1, pattern="delay")
    raw = clip(24_000)
    assert torch.equal(part.quantize(raw), whole.quantize(raw)[:, :1])
    assert part.layout.codebooks == 1
    assert len(part.decode(part.encode(raw))["array"]) == len(whole.decode(whole.encode(raw))["array"])


@pytest.mark.parametrize("name", sorted(KINDS))
def test_a_checkpoint_needs_the_codec_no_more(name: str, folders: dict[str, Path], tmp_path: Path) -> None:
    copy = tmp_path / "codec"
    shutil.copytree(folders[name], copy)
    codec = vocabulary(path=copy)
    wanted = codec.encode(clip(24_000))
    (tmp_path / "assets").mkdir()
    codec.save_assets(tmp_path / "assets")
    assert len(pickle.dumps(codec)) < 20_000  # where the weights are, not the weights
    again = vocabulary(BuildContext(assets=tmp_path / "assets", load_weights=False), path=copy)
    shutil.rmtree(tmp_path / "assets")
    assert again.encode(clip(24_000)) == wanted
    assert pickle.loads(pickle.dumps(again)).encode(clip(24_000)) == wanted


def test_too_many_codebooks_are_refused(folders: dict[str, Path]) -> None:
    with pytest.raises(PluginError) as caught:
        vocabulary(path=folders["mimi"], codebooks=9)
    assert str(caught.value) == "codebooks 9: 'mimi' has 3 here; give 1 to 3"


def test_a_codec_that_scales_chunks_is_refused() -> None:
    with pytest.raises(PluginError) as caught:
        vocabulary(config={**ENCODEC, "normalize": True, "chunk_length_s": 1.0, "overlap": 0.01})
    assert str(caught.value) == (
        "'encodec' cuts sounds in chunks and scales each, which its codes do not say; use a codec that does not, as "
        "facebook/encodec_24khz"
    )


def test_an_architecture_of_another_kind_is_refused() -> None:
    with pytest.raises(PluginError) as caught:
        vocabulary(config={"model_type": "encodek"})
    assert str(caught.value) == (
        "config.model_type 'encodek' is no audio codec that hf-audio-codes knows; did you mean 'encodec'?"
    )


def test_a_clip_that_is_too_long_is_refused() -> None:
    codec = vocabulary(config=ENCODEC, max_seconds=0.5)
    with pytest.raises(SampleError) as caught:
        codec.encode(clip(24_000))
    assert str(caught.value) == (
        "audio array of shape (16800,): 0.7 s long; at most 0.5 s are decoded: cut it, or raise max_seconds"
    )
