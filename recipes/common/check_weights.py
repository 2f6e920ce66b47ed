"""Runs every set of converted weights on real data and prints what came out: ``python -m recipes.common.check_weights``.

Whisper transcribes studio prompts, EfficientNet names photographs, SmolLM2 continues a sentence, MiniLM ranks pairs.
"""

import json
from pathlib import Path

import torch

from recipes.common.baselines import error_rates
from recipes.common.cache import read_jsonl, recipe_folder
from recipes.common.debian import debian_package
from recipes.common.weights import efficientnet_lite0, minilm, smollm2_135m, whisper_tiny_en
from recipes.speech_recognition.prepare import normalise

PHOTOS = {"chelsea.png": "cat", "coffee.png": "espresso", "rocket.jpg": "missile", "camera.png": "tripod"}


def check_whisper(clips: int = 60) -> dict[str, float]:
    """Word and character error rate of the converted model on unseen, untouched prompts."""
    import soundfile
    import soxr
    from transformers import AutoProcessor, WhisperForConditionalGeneration

    folder = whisper_tiny_en()
    processor = AutoProcessor.from_pretrained(folder)
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    where = recipe_folder("speech_recognition")
    heard, references = [], []
    for row in read_jsonl(where / "test.jsonl")[:clips]:
        wave, rate = soundfile.read(where / row["audio"], dtype="float32")
        features = processor(soxr.resample(wave, rate, 16000), sampling_rate=16000, return_tensors="pt").input_features
        with torch.inference_mode():
            ids = model.generate(features, max_length=150)
        heard.append(normalise(processor.batch_decode(ids, skip_special_tokens=True)[0]))
        references.append(row["text"])
    for said, reference in list(zip(heard, references, strict=True))[:5]:
        print(f"  heard {said!r}\n  spoken {reference!r}")
    return error_rates(heard, references)


def check_efficientnet(eps: float, mean: float, std: float) -> dict[str, list[str]]:
    """The five best ImageNet names of some photographs."""
    import timm
    from safetensors.torch import load_file
    from timm.data import ImageNetInfo, create_transform

    model = timm.create_model("efficientnet_lite0", bn_eps=eps).eval()
    model.load_state_dict(load_file(efficientnet_lite0()))
    transform = create_transform(
        (3, 224, 224), interpolation="bicubic", crop_pct=0.875, mean=(mean,) * 3, std=(std,) * 3
    )
    info, answers = ImageNetInfo(), {}
    for photo in _photos():
        with torch.inference_mode():
            scores = model(transform(_rgb(photo))[None]).softmax(-1)[0].topk(5)
        pairs = zip(scores.indices.tolist(), scores.values.tolist(), strict=True)
        answers[photo.name] = [f"{info.index_to_description(i).split(',')[0]} {p:.2f}" for i, p in pairs]
    return answers


def _rgb(photo: Path):
    from PIL import Image

    return Image.open(photo).convert("RGB")


def _photos() -> list[Path]:
    folder = debian_package("python3-skimage", "BSD-3-Clause") / "usr"
    return [path for name in PHOTOS for path in sorted(folder.rglob(name))[:1]]


def check_smollm2(prompt: str = "The capital of France is") -> str:
    """A greedy continuation."""
    from transformers import AutoModelForCausalLM, AutoTokenizer

    folder = smollm2_135m()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder).eval()
    with torch.inference_mode():
        ids = model.generate(**tokenizer(prompt, return_tensors="pt"), max_new_tokens=24, do_sample=False)
    return tokenizer.decode(ids[0])


def check_minilm() -> list[list[float]]:
    """Cosine similarities: the first two sentences mean the same, the third does not."""
    from transformers import AutoModel, AutoTokenizer

    folder = minilm()
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()
    sentences = ["A man is eating food.", "Someone has a meal.", "The cello concerto is in E minor."]
    batch = tokenizer(sentences, padding=True, return_tensors="pt")
    with torch.inference_mode():
        states = model(**batch).last_hidden_state
    mask = batch["attention_mask"][..., None]
    vectors = torch.nn.functional.normalize((states * mask).sum(1) / mask.sum(1), dim=-1)
    return [[round(value, 3) for value in row] for row in (vectors @ vectors.T).tolist()]


if __name__ == "__main__":
    print("SmolLM2:", check_smollm2())
    print("MiniLM:", check_minilm())
    print("EfficientNet:", json.dumps(check_efficientnet(1e-3, 0.498, 0.502), indent=1))
    print("Whisper:", check_whisper())
