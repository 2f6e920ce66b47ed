"""A sample's states and loss are the same alone and in any mixed batch, for every component that is installed.

The components come from the registry: one that is new fails here until ``SMALL`` says how to build a small one.
"""

import io
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch
from PIL import Image

import mmkit
from mmkit.discovery import discover
from mmkit.model.batch import pack
from mmkit.model.model import Run

SIZES = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
VIT = {"model_type": "vit", **SIZES, "intermediate_size": 24, "image_size": 16, "patch_size": 8}
HUBERT = {"model_type": "hubert", **SIZES, "intermediate_size": 24, "conv_dim": [8] * 7}
HUBERT |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2}
WHISPER = {"model_type": "whisper", "d_model": 16, "encoder_layers": 1, "encoder_attention_heads": 2}
WHISPER |= {"encoder_ffn_dim": 24, "decoder_layers": 1, "decoder_attention_heads": 2, "decoder_ffn_dim": 24}
WHISPER |= {"vocab_size": 9, "pad_token_id": 1, "bos_token_id": 1, "eos_token_id": 1, "decoder_start_token_id": 2}
BERT = {"model_type": "bert", **SIZES, "intermediate_size": 24}
LLAMA = {"model_type": "llama", **SIZES, "intermediate_size": 24, "vocab_size": 8}
GPT2 = {"model_type": "gpt2", "n_embd": 16, "n_layer": 1, "n_head": 2, "n_positions": 128, "vocab_size": 8}
T5 = {"model_type": "t5", "d_model": 16, "d_kv": 8, "d_ff": 24, "num_layers": 1, "num_heads": 2, "vocab_size": 8}
CHARACTERS = {"use": "characters"}
ENCODEC = {"model_type": "encodec", "num_filters": 4, "hidden_size": 8, "codebook_size": 16, "num_lstm_layers": 1}
ENCODEC |= {"upsampling_ratios": [8, 5, 4, 2], "target_bandwidths": [0.6, 1.2]}
JANUS = {"base_channels": 32, "channel_multiplier": [1, 1], "num_res_blocks": 1, "latent_channels": 32}
JANUS |= {"num_patches": 8, "num_embeddings": 64}
FSQ_IMAGE = {"image_size": 8, "channels": [6], "levels": [5, 4]}
FSQ_AUDIO = {"sample_rate": 8000, "n_mels": 8, "window_ms": 40, "hop_ms": 20, "dim": 16, "layers": 1, "levels": [5, 4]}
TRANSFORMER = {"dim": 16, "layers": 1, "heads": 2, "dropout": 0.1}

SMALL: dict[tuple[str, str], list[dict[str, Any]]] = {
    ("encoder", "image/cnn"): [{"image_size": 12, "channels": [6, 8]}],
    ("encoder", "image/timm"): [
        {"model": "resnet18", "image_size": 32, "out_index": 2},
        {"model": "vit_tiny_patch16_224", "image_size": 32, "out_index": 1},
    ],
    ("encoder", "image/hf-vision"): [{"config": VIT}],
    ("encoder", "audio/log-mel"): [{"n_mels": 8}, {"n_mels": 8, "features": "pooled"}],
    ("encoder", "audio/conformer"): [{"n_mels": 16, "dim": 16, "heads": 2, "layers": 1, "kernel": 5}],
    ("encoder", "audio/hf-audio"): [{"config": HUBERT}, {"config": WHISPER, "window": 0.5}],
    ("encoder", "text/lstm"): [{"vocabulary": CHARACTERS, "embedding_dim": 8, "hidden_dim": 6, "layers": 2}],
    ("encoder", "text/gru"): [{"vocabulary": CHARACTERS, "embedding_dim": 8, "hidden_dim": 6}],
    ("encoder", "text/transformer"): [{"vocabulary": CHARACTERS, "dim": 16, "layers": 1, "heads": 2}],
    ("encoder", "text/hf-text"): [
        {"vocabulary": CHARACTERS, "config": BERT},
        {"vocabulary": CHARACTERS, "config": BERT, "features": "mean"},
    ],
    ("adapter", "tasks/linear"): [{}, {"positions": "learned"}, {"positions": "sinusoidal"}],
    ("adapter", "tasks/mlp"): [{"norm": True, "dropout": 0.1}],
    ("adapter", "tasks/stack"): [{"factor": 3, "hidden": 10}],
    ("adapter", "tasks/resampler"): [{"tokens": 3, "layers": 1, "heads": 2}],
    ("adapter", "tasks/pool"): [{"how": how} for how in ("mean", "max", "attention")],
    ("vocabulary", "text/words"): [{"vocab_size": 20}],
    ("vocabulary", "text/characters"): [{}],
    ("vocabulary", "text/bpe"): [{"vocab_size": 262}],
    ("vocabulary", "text/tokenizer"): [{"path": "tokenizer.json", "begin": "<s>", "end": "<s>"}],
    ("backbone", "text/lstm"): [
        {"embedding_dim": 10, "hidden_dim": 8, "layers": 2},
        {"embedding_dim": 10, "hidden_dim": 8, "bidirectional": True},
    ],
    ("backbone", "text/transformer"): [
        TRANSFORMER,
        {**TRANSFORMER, "prompt": "causal", "tie": False},
        {**TRANSFORMER, "form": "encoder-decoder"},
    ],
    ("backbone", "text/causal-lm"): [{"config": LLAMA}, {"config": GPT2}, {"config": LLAMA, "attention": "eager"}],
    ("backbone", "text/seq2seq-lm"): [{"config": T5}],
    ("backbone", "text/none"): [{"dim": 12}],
    ("head", "tasks/generate"): [{"label_smoothing": 0.1}],
    ("head", "tasks/classify"): [{"labels": ["x", "y"], "pool": how} for how in ("mean", "max", "last")],
    ("head", "tasks/regress"): [{"pool": "first"}],
    ("head", "tasks/flow"): [{"dim": 8, "heads": 2, "layers": 1}, {"dim": 8, "layers": 1, "attend": True}],
    ("encoder", "image/fsq-image"): [FSQ_IMAGE],
    ("encoder", "audio/fsq-audio"): [{**FSQ_AUDIO, "codebooks": 2}],
    ("head", "image/rebuild-image"): [{"channels": [6]}],
    ("head", "audio/rebuild-mel"): [{"dim": 16, "layers": 1, "iterations": 1}],
    ("vocabulary", "image/image-codes"): [{"codec": "image"}],
    ("vocabulary", "image/hf-image-codes"): [{"path": "janus", "image_size": 16}],
    ("vocabulary", "audio/audio-codes"): [{"codec": "audio", "pattern": pattern} for pattern in ("flat", "delay")],
    ("vocabulary", "audio/hf-audio-codes"): [{"config": ENCODEC, "pattern": "delay"}],
    ("head", "tasks/ctc"): [{"rnn_layers": 1, "rnn_dim": 6, "zero_infinity": True}],
}
BY_DESIGN = {("head", "tasks/contrastive"): "its loss compares the samples of a batch"}
CASES = [
    pytest.param(component, options, id=f"{component.kind}-{component.name}-{number}")
    for component in discover().of_kind("encoder", "adapter", "vocabulary", "backbone", "head")
    if (component.kind, component.full_name) not in BY_DESIGN
    for number, options in enumerate(SMALL.get((component.kind, component.full_name), [None]))  # type: ignore[list-item]
]
LEARN = ["a fine warm film of abc", "x y z", "dull"]
Build = Callable[..., mmkit.Model]


def png(seed: int) -> bytes:
    buffer = io.BytesIO()
    size = (20 + 3 * seed, 17, 3)
    Image.fromarray(np.random.default_rng(seed).integers(0, 256, size, dtype=np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


def wav(seed: int) -> bytes:
    buffer = io.BytesIO()
    noise = np.random.default_rng(seed).normal(0, 0.2, 3000 + 2500 * seed).astype(np.float32)
    soundfile.write(buffer, noise, 16_000, format="WAV")
    return buffer.getvalue()


RAW: dict[str, Callable[[int], Any]] = {
    "image": png,
    "audio": wav,
    "text": lambda seed: ["a fine film", "x", "dull warm abc of z y x", "abc"][seed % 4],
}


REBUILT = {
    "image/rebuild-image": ("image", {"use": "fsq-image", **FSQ_IMAGE}),
    "audio/rebuild-mel": ("audio", {"use": "fsq-audio", **FSQ_AUDIO}),
}
"""Heads that make again what an encoder reads."""


def spec_with(component: Any, options: dict[str, Any]) -> dict[str, Any]:
    """A model of three modalities and several tasks in which the component has its place."""
    use = {"use": component.full_name, **options}
    codes = component.kind == "vocabulary" and component.modality != "text"
    spec: dict[str, Any] = {
        "mmkit": 1,
        "modalities": {
            "image": {"encoder": {"use": "cnn", "image_size": 8, "channels": [6]}, "adapter": "linear"},
            "audio": {"encoder": {"use": "log-mel", "n_mels": 8, "hop_ms": 40}, "adapter": "linear"},
            "text": {"adapter": use if component.kind == "vocabulary" and not codes else CHARACTERS},
        },
        "backbone": use if component.kind == "backbone" else {"use": "lstm", "embedding_dim": 10, "hidden_dim": 8},
        "tasks": {
            "all": {"input": "a{image}x{audio}{text}", "output": "{label}", "head": {"use": "classify", "labels": ["x", "y"]}},
            "text": {"input": "{text}", "output": "{label}", "head": {"use": "classify", "labels": ["x", "y"], "pool": "last"}},
            "image": {"input": "{image}{image} of", "output": "{label}", "head": {"use": "classify", "labels": ["x", "y"]}},
        },
    }  # fmt: skip
    if component.kind == "encoder":
        if component.modality == "text":
            spec["modalities"]["other"] = {"encoder": use, "adapter": "linear"}
        else:
            spec["modalities"][component.modality]["encoder"] = use
    if component.kind == "adapter":
        spec["modalities"]["image"]["adapter"] = spec["modalities"]["audio"]["adapter"] = use
    if codes:
        spec["modalities"]["coded"] = {"adapter": use}
        spec["tasks"]["write"] = {"input": "a{text}", "output": "{coded}", "head": "generate"}
        spec["tasks"]["read"] = {"input": "{coded}{text}", "output": "{label}", "head": {"use": "classify", "labels": ["x", "y"]}}  # fmt: skip
    if component.full_name in REBUILT:
        name, encoder = REBUILT[component.full_name]
        spec["modalities"][name]["encoder"] = encoder
        spec["tasks"]["tested"] = {
            "input": f"{{{name}}}",
            "output": f"{{{name}}}",
            "reads": f"{name}.encoder",
            "head": use,
        }
    elif component.kind == "head":
        spec["tasks"]["tested"] = {"input": "{image}{text}{audio}", "output": "{target}", "head": use}
    generates = component.kind != "backbone" or (component.generates and not options.get("bidirectional"))
    if generates:
        spec["tasks"]["say"] = {"input": "{text}{audio}", "output": "{text}", "head": "generate"}
    if "other" in spec["modalities"]:
        spec["tasks"]["other"] = {"input": "{other}{text}", "output": "{label}", "head": {"use": "classify", "labels": ["x", "y"]}}  # fmt: skip
    for task in spec["tasks"].values():
        task["columns"] = {name: "text" for name in ("label", "target") if f"{{{name}}}" == task["output"]}
    if component.continuous:
        spec["modalities"]["drawn"] = {"adapter": {"use": "image-patches", "image_size": 8}}
        spec["tasks"]["tested"]["columns"]["target"] = "drawn"
    return spec


def row_of(spec: dict[str, Any], seed: int) -> dict[str, Any]:
    row = {name: RAW[name](seed) for name in ("image", "audio", "text")}
    head = str(spec["tasks"].get("tested", {}).get("head"))
    target = 0.5 * seed if "regress" in head else png(seed) if "flow" in head else "xy"[seed % 2]
    coded = row["image" if "image" in str(spec["modalities"].get("coded")) else "audio"]
    return {**row, "coded": coded, "other": RAW["text"](seed + 1), "label": "xy"[seed % 2], "target": target}


@pytest.fixture(scope="module")
def codecs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders of tokenizers of pictures and sounds with random weights: image, audio, janus."""
    from transformers import JanusVQVAE, JanusVQVAEConfig

    folder = tmp_path_factory.mktemp("codecs")
    heads = {
        "image": {"use": "rebuild-image", "channels": [6]},
        "audio": {"use": "rebuild-mel", "dim": 16, "layers": 1},
    }
    for name, encoder in REBUILT.values():
        task = {"input": f"{{{name}}}", "output": f"{{{name}}}", "head": heads[name]}
        spec = {"mmkit": 1, "modalities": {name: {"encoder": encoder}}, "tasks": {"rebuild": task}}
        mmkit.build(spec, seed=0).save(folder / name)
    JanusVQVAE(JanusVQVAEConfig(**JANUS)).save_pretrained(folder / "janus")
    return folder


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tokenizers import Tokenizer, models, pre_tokenizers

    letters = {letter: number + 2 for number, letter in enumerate("abcdefghijklmnopqrstuvwxyz")}
    made = Tokenizer(models.WordLevel({"?": 0, "<s>": 1, **letters}, "?"))
    made.pre_tokenizer = pre_tokenizers.Split("", "isolated")
    path = tmp_path_factory.mktemp("tokenizer") / "tokenizer.json"
    made.save(str(path))
    return path


def build(spec: dict[str, Any]) -> mmkit.Model:
    """With weights and statistics moved off their starts, where nothing could leak."""
    model = mmkit.build(spec, fit={"text": LEARN, "other": LEARN})
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.05)
        for module in model.modules():
            if isinstance(module, torch.nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
                module.running_mean.normal_(0, 0.3, generator=generator)
    return model.eval()


def batches_of(model: mmkit.Model, spec: dict[str, Any]) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """Mixed batches: every task, every modality, some samples without one, some with an empty text."""
    tasks = list(model.plan.tasks)
    yield [(task, row_of(spec, seed)) for seed, task in enumerate([*tasks, *reversed(tasks)])]
    yield [("text", {**row_of(spec, 1), "text": ""}), (tasks[-1], row_of(spec, 2)), ("text", row_of(spec, 3))]
    yield [("text", row_of(spec, seed)) for seed in range(3)]


@torch.no_grad()
def compare(model: mmkit.Model, spec: dict[str, Any]) -> int:
    """Every node's rows, every score and every loss of every sample; how many were compared."""
    prepare, processors, compared = model.preparer(), model.processors(), 0
    feeding = [name for name, head in model.parts.heads.items() if head.autoregressive]
    for rows in batches_of(model, spec):
        samples = [prepare(task, row) for task, row in rows]
        together = Run(model, pack(samples, processors, feeding))
        states = {node: together.read(node, range(len(samples))).split() for node in model.parts.dims}
        totals: dict[str, float] = {}
        fed: dict[str, int] = {}
        fed_here = [task for task in feeding if task in together.batch.tasks]
        scores = together.scores("backbone", fed_here) if fed_here else {}
        rows_of = {task: given.replace(given.logits()).split() for task, given in scores.items()}
        for index, sample in enumerate(samples):
            alone = Run(model, pack([sample], processors, feeding))
            for node in model.parts.dims:
                here, there = states[node][index], alone.read(node, [0]).values
                torch.testing.assert_close(here, there, atol=1e-5, rtol=1e-5, msg=lambda text, n=node: f"{n}: {text}")
                compared += len(here)
            if sample.task in feeding:
                place = fed[sample.task] = fed.get(sample.task, -1) + 1
                one = alone.scores("backbone", [sample.task])[sample.task].logits()
                torch.testing.assert_close(rows_of[sample.task][place], one, atol=1e-5, rtol=1e-5)
            total = float(alone.losses()[sample.task].total)
            totals[sample.task] = totals.get(sample.task, 0.0) + total
        for task, loss in together.losses().items():
            assert float(loss.total) == pytest.approx(totals[task], abs=1e-5 * len(samples), rel=1e-5)
    return compared


@pytest.mark.parametrize(("component", "options"), CASES)
def test_a_sample_is_the_same_alone_and_in_mixed_batches(
    component: Any, options: Any, tokenizer: Path, codecs: Path
) -> None:
    name = f"{component.kind} {component.full_name}"
    assert options is not None, f"{name} is not tested: say in SMALL how to build a small one"
    assert component.kind != "encoder" or component.modality in RAW, f"{name}: RAW has no {component.modality!r}"
    places = {"path": tokenizer if component.name == "tokenizer" else codecs / "janus"}
    places |= {"codec": codecs / component.modality}
    options = {name: str(places.get(name, "")) if name in places else value for name, value in options.items()}
    spec = spec_with(component, options)
    assert compare(build(spec), spec) > 100


def test_what_is_listed_is_installed() -> None:
    installed = {(c.kind, c.full_name) for c in discover().components}
    assert {*SMALL, *BY_DESIGN} <= installed


LEAKY = """
import torch
from mmkit import Backbone, Component, Config, Ragged, hookimpl

class Leaky(Backbone):
    token_dim = hidden_dim = 10
    def __init__(self, rows):
        super().__init__()
        self.table = torch.nn.Embedding(rows, 10)
    def embed(self, ids):
        return self.table(ids)
    def forward(self, prompt, target=None):
        return prompt.replace(prompt.values + 1e-4 * prompt.values.abs().sum())

def build(context):
    return Leaky(context.vocabulary_size)

@hookimpl
def mmkit_components():
    return [Component("backbone", "leaky", "Mixes samples.", "plug_leaky:build", "plug_leaky:Config")]
"""


def test_a_backbone_that_mixes_samples_is_caught(install: Callable[..., Path]) -> None:
    install("leaky", LEAKY)
    component = discover().find(["backbone"], "leaky")
    spec = spec_with(component, {})
    with pytest.raises(AssertionError, match=r"^backbone: Tensor-likes are not close!"):
        compare(build(spec), spec)
