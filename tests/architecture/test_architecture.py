"""The house plan, held by tests."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import mmkit

ROOT = Path(__file__).parents[2]
CODE = sorted(
    p for folder in ("mmkit", "plugins", "recipes", "benchmarks", "examples") for p in (ROOT / folder).rglob("*.py")
)


@pytest.mark.parametrize("path", CODE, ids=lambda p: str(p.relative_to(ROOT)))
def test_files_and_functions_are_read_in_one_sitting(path: Path) -> None:
    text = path.read_text("utf-8")
    assert text.count("\n") <= 400
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 60, f"{node.name} has more than 60 lines"


def test_light_layers_never_import_torch() -> None:
    code = (
        "import sys, mmkit, mmkit.errors, mmkit.registry, mmkit.spec.load, mmkit.spec.schema, mmkit.discovery\n"
        "reports = mmkit.plugins()\n"
        "assert reports, 'no plugins found'\n"
        "import mmkit.wiring.planner\n"
        "heavy = [m for m in ('torch', 'transformers', 'numpy', 'datasets', 'PIL') if m in sys.modules]\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_public_names_are_pinned() -> None:
    assert sorted(mmkit.__all__) == mmkit.__all__
    assert set(mmkit.__all__) == {
        *("Backbone", "Batch", "BuildContext", "CheckpointError", "Component", "Config", "DataError", "DecodingState"),
        *(
            "Encoder",
            "Fittable",
            "HasAssets",
            "HasExample",
            "HasPieces",
            "Item",
            "LocalPath",
            "Loss",
            "Metric",
            "MmkitError",
            "Model",
        ),
        *(
            "PluginError",
            "Problem",
            "Processor",
            "Ragged",
            "SampleError",
            "Scores",
            "SoftAdapter",
            "SpecError",
            "TaskHead",
        ),
        *("TrainingError", "VocabularyAdapter", "api_version", "build", "check", "evaluate", "hookimpl", "load"),
        *("plugins", "train", "tune", "Command", "Evaluation", "Migration", "ReportSection", "RowSource", "RunContext"),
        "SourceContext",
        *("CodeLayout", "Codec", "ContinuousAdapter", "Grammar", "Renderer", "RowMetric", "Imported", "Importer"),
        *("Attended", "Attentive", "Explainable", "Explanation", "explain", "Padded", "padded_recurrent"),
        "uncompiled",
    }
    for name in mmkit.__all__:
        assert getattr(mmkit, name) is not None


@pytest.mark.parametrize("path", [p for p in CODE if "/mmkit/" in str(p)], ids=lambda p: p.name)
def test_core_imports_no_plugin_and_no_modality_library(path: Path) -> None:
    forbidden = ("timm", "torchaudio", "torchvision", "soundfile", "PIL", "tokenizers", "mmkit_")
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
        names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
        if str(path).startswith(str(ROOT / "mmkit")):
            assert not [n for n in names if n.startswith(forbidden)]


@pytest.mark.parametrize("plugin", ["image", "audio", "text", "tasks"])
def test_plugins_use_only_the_public_names(plugin: str) -> None:
    files = sorted((ROOT / "plugins" / f"mmkit-{plugin}" / f"mmkit_{plugin}").glob("*.py"))
    assert files
    for path in files:
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("mmkit"):
                own = (node.module or "").startswith(f"mmkit_{plugin}")
                assert own or node.module in ("mmkit", "mmkit.testing"), f"{path.name} imports {node.module}"
