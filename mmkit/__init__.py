"""mmkit: any modality, one model. The public names; those that need torch are imported on first use."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from mmkit.errors import (
    CheckpointError,
    DataError,
    MmkitError,
    PluginError,
    Problem,
    SampleError,
    SpecError,
    TrainingError,
)
from mmkit.late import announce, uncompiled
from mmkit.registry.component import API_VERSION, Component
from mmkit.registry.offers import Command, Imported, Importer, Migration, Renderer, ReportSection

if TYPE_CHECKING:
    from mmkit.discovery import hookimpl, plugins
    from mmkit.explaining.explanation import Explanation
    from mmkit.explaining.run import explain
    from mmkit.interfaces import (
        Attended,
        Attentive,
        Backbone,
        Batch,
        BuildContext,
        Codec,
        CodeLayout,
        ContinuousAdapter,
        DecodingState,
        Encoder,
        Explainable,
        Fittable,
        Grammar,
        HasAssets,
        HasExample,
        HasPieces,
        Item,
        Loss,
        Metric,
        Processor,
        RowMetric,
        RowSource,
        RunContext,
        Scores,
        SoftAdapter,
        SourceContext,
        TaskHead,
        VocabularyAdapter,
    )
    from mmkit.model.build import build
    from mmkit.model.checkpoint import load
    from mmkit.model.model import Model
    from mmkit.ragged import Padded, Ragged
    from mmkit.recurrent import padded_recurrent
    from mmkit.spec.config import Config, LocalPath
    from mmkit.training.evaluate import evaluate
    from mmkit.training.report import Evaluation
    from mmkit.training.run import train
    from mmkit.tuning.run import tune
    from mmkit.wiring.check import check

__version__ = "0.1.0"
api_version = API_VERSION

_LAZY = {
    **dict.fromkeys(
        [
            "Attended",
            "Attentive",
            "Backbone",
            "Batch",
            "BuildContext",
            "CodeLayout",
            "Codec",
            "ContinuousAdapter",
            "DecodingState",
            "Encoder",
            "Explainable",
            "Fittable",
            "Grammar",
            "HasAssets",
            "HasExample",
            "HasPieces",
            "Item",
            "Loss",
            "Metric",
            "Processor",
            "RowMetric",
            "RowSource",
            "RunContext",
            "Scores",
            "SoftAdapter",
            "SourceContext",
            "TaskHead",
            "VocabularyAdapter",
        ],
        "mmkit.interfaces",
    ),
    "Config": "mmkit.spec.config",
    "Evaluation": "mmkit.training.report",
    "Explanation": "mmkit.explaining.explanation",
    "LocalPath": "mmkit.spec.config",
    "Model": "mmkit.model.model",
    "Padded": "mmkit.ragged",
    "Ragged": "mmkit.ragged",
    "build": "mmkit.model.build",
    "check": "mmkit.wiring.check",
    "evaluate": "mmkit.training.evaluate",
    "explain": "mmkit.explaining.run",
    "hookimpl": "mmkit.discovery",
    "load": "mmkit.model.checkpoint",
    "padded_recurrent": "mmkit.recurrent",
    "plugins": "mmkit.discovery",
    "train": "mmkit.training.run",
    "tune": "mmkit.tuning.run",
}

__all__ = [
    "Attended",
    "Attentive",
    "Backbone",
    "Batch",
    "BuildContext",
    "CheckpointError",
    "CodeLayout",
    "Codec",
    "Command",
    "Component",
    "Config",
    "ContinuousAdapter",
    "DataError",
    "DecodingState",
    "Encoder",
    "Evaluation",
    "Explainable",
    "Explanation",
    "Fittable",
    "Grammar",
    "HasAssets",
    "HasExample",
    "HasPieces",
    "Imported",
    "Importer",
    "Item",
    "LocalPath",
    "Loss",
    "Metric",
    "Migration",
    "MmkitError",
    "Model",
    "Padded",
    "PluginError",
    "Problem",
    "Processor",
    "Ragged",
    "Renderer",
    "ReportSection",
    "RowMetric",
    "RowSource",
    "RunContext",
    "SampleError",
    "Scores",
    "SoftAdapter",
    "SourceContext",
    "SpecError",
    "TaskHead",
    "TrainingError",
    "VocabularyAdapter",
    "api_version",
    "build",
    "check",
    "evaluate",
    "explain",
    "hookimpl",
    "load",
    "padded_recurrent",
    "plugins",
    "train",
    "tune",
    "uncompiled",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'mmkit' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__


announce()
