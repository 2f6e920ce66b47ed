"""Enters the model's and the processor's class in transformers' Auto classes."""

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
    from mmkit.exchange.hf_processor import MmkitProcessor

    for name in AUTO_CLASSES:
        auto = getattr(transformers, name, None)
        if auto is not None:
            auto.register(MmkitConfig, MmkitModel, exist_ok=True)
    transformers.AutoProcessor.register(MmkitConfig, MmkitProcessor, exist_ok=True)
