"""What the core tells a component's builder, beside the component's own config."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mmkit.interfaces.adapter import VocabularyAdapter
from mmkit.interfaces.continuous import ContinuousAdapter
from mmkit.interfaces.processor import Processor


@dataclass(frozen=True)
class RunContext:
    """The first argument of a callback's builder, which gives a ``transformers.TrainerCallback``.

    Attributes:
        output: the folder of the run. model: the model that is trained. first: whether this process is the one that writes.
    """

    output: Path
    model: Any
    first: bool = True


@dataclass(frozen=True)
class BuildContext:
    """The first argument of every builder: ``builder(context, **config_fields)``.

    Attributes:
        assets: a folder earlier written by the component's ``save_assets(folder)``. When given, everything that
            is not a weight (architecture config, tokenizer files) is read from it and nothing else is.
        load_weights: False while a spec is checked or a checkpoint is loaded: build the architecture only, read
            no weights. Parameters may then live on the meta device; buffers are real and must be correct.
        in_dim: (adapter) width of the features.
        out_dim: (adapter) width of the stream.
        vocabulary_size: (backbone) rows needed in the embedding table; 0 where no modality has ids.
        generates: (backbone) whether a head decodes with it; without one, no output layer is needed.
        dims: (head) width of each node it reads, in order.
        vocabulary: (head) adapter of the output column, where that column is one of ids.
        processors: (head) processor of each node it reads, in order; None where the node is no encoder.
        continuous: (head) adapter of the output column, where that column is one of vectors.
    """

    assets: Path | None = None
    load_weights: bool = True
    in_dim: int = 0
    out_dim: int = 0
    vocabulary_size: int = 0
    generates: bool = True
    dims: tuple[int, ...] = ()
    vocabulary: VocabularyAdapter | None = None
    processors: tuple[Processor | None, ...] = ()
    continuous: ContinuousAdapter | None = None
