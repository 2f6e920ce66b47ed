"""What a server does not import: the model's code is what its spec names, and of other plugins nothing is loaded."""

import gc
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import mmkit
from mmkit.cli.model import staying

TASK = {"input": "{text}", "output": "{answer}", "columns": {"answer": "text"}, "head": "generate"}
LLAMA = {
    "model_type": "llama",
    "hidden_size": 16,
    "intermediate_size": 16,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
}
BACKBONES: dict[str, dict[str, Any]] = {
    "transformer": {"use": "transformer", "dim": 16, "layers": 1, "heads": 2},
    "lstm": {"use": "lstm", "embedding_dim": 8, "hidden_dim": 16},
    "causal-lm": {"use": "causal-lm", "config": LLAMA},
}
TRAINING = {
    "accelerate",
    "datasets",
    "matplotlib",
    "pandas",
    "peft",
    "rouge_score",
    "sacrebleu",
    "sklearn",
    "torchmetrics",
}
MEDIA = {"PIL", "scipy", "soundfile", "soxr", "timm", "torchaudio", "torchvision"}
HEAVY = {"transformers", "sympy", "torchao", "triton"} | TRAINING | MEDIA


def imported(folder: Path) -> set[str]:
    """Names of all modules of a process that has loaded the model and could serve it."""
    code = (
        f"import sys; sys.path[:0] = {sys.path!r}\n"
        f"import mmkit.serve.run, mmkit.cli.model, mmkit.serve.app\n"
        f"mmkit.serve.app.create_app(mmkit.cli.model.open_model({str(folder)!r}, 'cpu'))\n"
        "print(*sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.fixture
def saved(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    """A model of text with this backbone."""
    modalities = {"text": {"adapter": {"use": "characters"}}}
    spec = {"mmkit": 1, "modalities": modalities, "backbone": BACKBONES[request.param], "tasks": {"say": TASK}}
    return mmkit.build(spec, fit={"text": ["some words"]}).save(tmp_path / "model")


@pytest.mark.parametrize("saved", ["transformer", "lstm"], indirect=True)
def test_a_model_of_mmkits_own_layers_starts_without_transformers_and_without_the_compiler(saved: Path) -> None:
    modules = imported(saved)
    assert {name.partition(".")[0] for name in modules} & HEAVY == set()
    assert not {"torch._dynamo", "torch._inductor", "torch.distributed.tensor"} & modules


@pytest.mark.parametrize("saved", ["transformer", "causal-lm"], indirect=True)
def test_of_plugins_that_the_spec_does_not_name_only_the_list_of_their_components_is_imported(saved: Path) -> None:
    modules = imported(saved)
    of_media = {name for name in modules if name.startswith(("mmkit_image.", "mmkit_audio."))}
    assert of_media == {"mmkit_image.plugin", "mmkit_audio.plugin"}
    assert {name.partition(".")[0] for name in modules} & (TRAINING - {"accelerate"}) == set()  # transformers takes it


@pytest.mark.parametrize("frozen", [True, False])
@pytest.mark.parametrize("looked", [True, False])
def test_garbage_is_not_looked_for_while_a_server_starts_and_is_afterwards_as_before(
    looked: bool, frozen: bool
) -> None:
    before, kept = gc.isenabled(), gc.get_freeze_count()
    try:
        (gc.enable if looked else gc.disable)()
        with suppress(ValueError), staying(frozen):
            inside = gc.isenabled()
            raise ValueError
        assert not inside
        assert gc.isenabled() is looked
        assert (gc.get_freeze_count() > kept) is frozen
    finally:
        gc.unfreeze()
        (gc.enable if before else gc.disable)()
