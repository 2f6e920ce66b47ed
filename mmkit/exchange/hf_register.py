"""Enters the model's and the processor's class in transformers' Auto classes, and the pipeline in its registry."""

from functools import cache

AUTO_CLASSES = (
    "AutoModel",
    "AutoModelForMultimodalLM",
    "AutoModelForCausalLM",
    "AutoModelForImageTextToText",
    "AutoModelForSeq2SeqLM",
    "AutoModelForSpeechSeq2Seq",
    "AutoModelForSequenceClassification",
    "AutoModelForImageClassification",
    "AutoModelForAudioClassification",
)


@cache
def register_classes() -> None:
    """Once a process."""
    import transformers

    from mmkit.exchange.hf_config import MmkitConfig
    from mmkit.exchange.hf_model import MmkitModel
    from mmkit.exchange.hf_processor import MmkitProcessor, NoTokenizer

    for name in AUTO_CLASSES:
        auto = getattr(transformers, name, None)
        if auto is not None:
            auto.register(MmkitConfig, MmkitModel, exist_ok=True)
    transformers.AutoProcessor.register(MmkitConfig, MmkitProcessor, exist_ok=True)
    transformers.AutoTokenizer.register(MmkitConfig, NoTokenizer, exist_ok=True)


def register_pipeline() -> None:
    """``pipeline("mmkit")``."""
    from transformers import AutoModel
    from transformers.pipelines import PIPELINE_REGISTRY

    from mmkit.exchange.hf_pipeline import NAME, MmkitPipeline

    PIPELINE_REGISTRY.register_pipeline(NAME, MmkitPipeline, pt_model=AutoModel, type="multimodal")
