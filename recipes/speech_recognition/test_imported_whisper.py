"""Whisper tiny.en, whole, becomes a model of mmkit: it gives transformers' logits, and writes down what is said."""

from pathlib import Path

import pytest
import soundfile
import torch

import mmkit
from mmkit.exchange.imports import bring_in
from mmkit.model.batch import pack
from mmkit.model.model import Run
from recipes.common.baselines import error_rates
from recipes.common.cache import read_jsonl
from recipes.common.run import data_of
from recipes.common.weights import whisper_tiny_en
from recipes.speech_recognition import prepare
from recipes.speech_recognition.prepare import normalise

CLIPS, TASK = 12, "transcribe"


@pytest.mark.slow
def test_real_whisper_is_imported_with_its_logits_and_its_answers(tmp_path: Path) -> None:
    from transformers import AutoProcessor, WhisperForConditionalGeneration

    weights, data = whisper_tiny_en(), data_of(prepare)
    rows = read_jsonl(data / "test.jsonl")[:CLIPS]
    bring_in(weights, tmp_path / "model")
    model = mmkit.load(tmp_path / "model")
    said = model.predict(TASK, [{"audio": row["audio"]} for row in rows], root=data, max_new_tokens=60)
    assert error_rates([normalise(text) for text in said], [row["text"] for row in rows])["wer"] < 0.1

    sample = model.preparer(data)(TASK, {"audio": rows[0]["audio"], "text": rows[0]["transcript"]})
    with torch.no_grad():
        run = Run(model, pack([sample], model.processors(), [TASK]))
        ours = run.scores(model.plan.tasks[TASK].reads[0], [TASK])[TASK].logits()
    theirs = WhisperForConditionalGeneration.from_pretrained(weights).eval()
    processor = AutoProcessor.from_pretrained(weights)
    wave, rate = soundfile.read(data / rows[0]["audio"], dtype="float32")
    wave = model.parts.encoders["audio"].processor()({"array": wave, "sampling_rate": rate})["wave"].numpy()
    features = processor(wave, sampling_rate=16_000, return_tensors="pt").input_features
    start = [theirs.generation_config.decoder_start_token_id, 50362]  # <|notimestamps|>
    assert sample.target is not None
    with torch.no_grad():
        given = theirs(
            input_features=features, decoder_input_ids=torch.tensor([[*start, *sample.target.tolist()]])
        ).logits[0, len(start) - 1 : -1]
    assert len(given) == len(sample.target) == 20
    torch.testing.assert_close(ours, given[:, : ours.shape[1]], rtol=1e-4, atol=1e-4)
