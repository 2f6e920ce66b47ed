"""The log-mel front end, compared with Whisper's, and the encoder made of it."""

import pickle
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
import torch
from mmkit_audio.config import LogMelConfig
from mmkit_audio.lengths import Lengths
from mmkit_audio.log_mel import LogMelEncoder, build
from mmkit_audio.mel import LogMel
from transformers import WhisperFeatureExtractor

from mmkit import BuildContext, Ragged, SampleError


def made(**options: Any) -> LogMelEncoder:
    return build(BuildContext(), **LogMelConfig(**options).model_dump())


def batch_of(encoder: Any, clips: Sequence[Any]) -> Any:
    processor = encoder.processor()
    return processor.collate([processor(clip) for clip in clips])


@pytest.mark.parametrize("n_mels", [80, 128])
def test_frames_are_those_of_whispers_feature_extractor(n_mels: int) -> None:
    wave = np.random.default_rng(0).normal(0, 0.1, 480_000).astype(np.float32)
    wave[200_000:] = 0
    reference = WhisperFeatureExtractor(feature_size=n_mels)(wave, sampling_rate=16_000, return_tensors="pt")
    frames = LogMel(16_000, n_mels, 400, 160)(Ragged.of([torch.from_numpy(wave)]))
    torch.testing.assert_close(frames.values, reference.input_features[0].T, atol=2e-5, rtol=1e-4)


def test_a_clip_is_the_same_alone_and_among_others(clips: Sequence[Any]) -> None:
    encoder = made()
    together = encoder(batch_of(encoder, clips)).split()
    for clip, rows in zip(clips, together, strict=True):
        torch.testing.assert_close(encoder(batch_of(encoder, [clip])).values, rows, atol=1e-6, rtol=0)


def test_promised_rows_are_given(clips: Sequence[Any]) -> None:
    for options in ({}, {"features": "pooled"}, {"hop_ms": 7.5, "window_ms": 21.3}, {"sample_rate": 8000}):
        encoder = made(**options)
        processor = encoder.processor()
        items = [processor(clip) for clip in clips]
        features = encoder(processor.collate(items))
        assert features.sizes == [processor.num_features(item) for item in items]
        assert features.values.shape[1] == encoder.feature_dim


def test_a_clip_shorter_than_a_window_is_filled_with_silence() -> None:
    encoder = made()
    features = encoder(batch_of(encoder, [{"array": np.ones(3, np.float32), "sampling_rate": 16_000}]))
    assert features.sizes == [2]
    assert torch.isfinite(features.values).all()


def test_silence_gives_finite_frames() -> None:
    encoder = made()
    features = encoder(batch_of(encoder, [{"array": np.zeros(16_000, np.float32), "sampling_rate": 16_000}]))
    assert features.values.unique().tolist() == [-1.5]


def test_low_precision_of_the_model_leaves_the_front_end_alone(clips: Sequence[Any]) -> None:
    encoder = made()
    batch = batch_of(encoder, clips)
    exact = encoder(batch).values
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(encoder.to(torch.bfloat16)(batch).values, exact, rtol=0, atol=0)


def test_the_processor_pickles_and_gives_the_same(clips: Sequence[Any]) -> None:
    processor = made().processor()
    again = pickle.loads(pickle.dumps(processor))
    assert torch.equal(again(clips[1])["wave"], processor(clips[1])["wave"])


def test_another_rate_is_refused_where_resampling_is_off() -> None:
    processor = made(resample=False).processor()
    with pytest.raises(SampleError) as error:
        processor({"array": np.zeros(8000, np.float32), "sampling_rate": 8000})
    assert str(error.value) == (
        "audio array of shape (8000,): 8000 samples a second, the encoder works at 16000; "
        "set resample: true, or convert the file"
    )


@pytest.mark.parametrize("samples", [400, 401, 15_999, 480_000, 480_001, 961_000])
def test_lengths_add_up_over_pieces(samples: int) -> None:
    lengths = Lengths(hop=160, stride=2, chunk=480_000)
    pieces = [480_000] * (samples // 480_000) + ([samples % 480_000] if samples % 480_000 else [])
    assert lengths(samples) == sum(max(1, -(-max(1, n // 160) // 2)) for n in pieces)
