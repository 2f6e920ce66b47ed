"""What plugin authors implement: Processor, Encoder, TokenizerAdapter, Backbone, TaskHead. Imports torch."""

from mmkit.interfaces.adapter import HasPieces, SoftAdapter, VocabularyAdapter
from mmkit.interfaces.attention import Attended, Attentive
from mmkit.interfaces.backbone import Backbone, DecodingState
from mmkit.interfaces.codec import Codec, CodeLayout, Grammar
from mmkit.interfaces.context import BuildContext, RunContext
from mmkit.interfaces.continuous import ContinuousAdapter
from mmkit.interfaces.encoder import Encoder
from mmkit.interfaces.head import Explainable, Loss, Metric, RowMetric, TaskHead
from mmkit.interfaces.processor import Batch, Fittable, HasAssets, HasExample, Item, Processor
from mmkit.interfaces.scores import Scores
from mmkit.interfaces.source import Row, RowSource, SourceContext

__all__ = [
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
    "Row",
    "RowMetric",
    "RowSource",
    "RunContext",
    "Scores",
    "SoftAdapter",
    "SourceContext",
    "TaskHead",
    "VocabularyAdapter",
]
