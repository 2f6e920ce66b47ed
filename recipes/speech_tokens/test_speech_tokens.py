"""The recipe's spec passes ``mmkit.check``; its figures are what they say."""

from pathlib import Path

import pytest
import torch
import yaml
from mmkit_audio.audio_codes import AudioCodes
from mmkit_audio.codec_conformance import spec as small_spec

import mmkit
from recipes.speech_tokens.hear import codec_of, use_of
from recipes.speech_tokens.prepare import MEL

HERE = Path(__file__).parent


@pytest.fixture(scope="module")
def codec(tmp_path_factory: pytest.TempPathFactory) -> AudioCodes:
    return codec_of(mmkit.build(small_spec(), seed=0).save(tmp_path_factory.mktemp("speech") / "codec"))


def test_spec_passes_the_whole_check() -> None:
    rows = mmkit.check(HERE / "spec.yaml")
    assert sum(row.parameters for row in rows) == sum(row.trainable for row in rows) > 100_000


def test_baseline_sees_the_spectrogram_of_the_spec() -> None:
    encoder = yaml.safe_load((HERE / "spec.yaml").read_text("utf-8"))["modalities"]["audio"]["encoder"]
    assert {name: encoder[name] for name in MEL} == MEL


def test_even_use_of_all_codes_has_all_their_bits(codec: AudioCodes) -> None:
    every = torch.arange(codec.layout.codes)[:, None]
    use = use_of([every, every], codec)
    assert use["share"] == [1.0]
    assert use["perplexity"] == [20.0]
    assert use["bits a second"] == use["bits a second by entropy"]


def test_a_single_code_has_no_bits(codec: AudioCodes) -> None:
    use = use_of([torch.zeros(9, 1, dtype=torch.int64)], codec)
    assert use["share"] == [0.05]
    assert use["perplexity"] == [1.0]
    assert use["bits a second by entropy"] == 0
