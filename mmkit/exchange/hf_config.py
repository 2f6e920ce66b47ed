"""The ``config.json`` of an exported model: the spec, the plugins that it needs, and what transformers asks of every model."""

import sys
from typing import Any

from transformers.configuration_utils import PreTrainedConfig

MODEL_TYPE = "mmkit"
AUTO = "transformers.models.auto.modeling_auto"


class MmkitConfig(PreTrainedConfig):
    """Configuration of ``MmkitModel``.

    Args:
        spec: the spec as JSON text, as ``spec.json`` has it; transformers would sort a mapping, and the order of modalities
            is that of their ids. plugins: the plugins that made the model, as ``plugins.json`` has them.
        assets: files beside the weights that components need, relative to the folder ``assets``.
        task: the task that ``forward`` and ``generate`` mean where their inputs name none.
        media: the modalities that encoders read; the placeholder of the first has the id ``vocab_size``, and so on.
        tied: weights that are one tensor, alias → name.
        vocab_size: rows of the shared table of ids. hidden_size: width of the main backbone.
        privacy: what a private training has spent, as ``privacy.json`` has it.
    """

    model_type = MODEL_TYPE

    def __init__(
        self,
        spec: str = "{}",
        plugins: dict[str, Any] | None = None,
        assets: list[str] | None = None,
        task: str = "",
        media: list[str] | None = None,
        tied: dict[str, str] | None = None,
        vocab_size: int = 0,
        hidden_size: int = 0,
        privacy: dict[str, Any] | None = None,
        **more: Any,
    ) -> None:
        self.spec, self.plugins, self.assets, self.task = spec, plugins or {}, assets or [], task
        self.media, self.tied, self.vocab_size, self.hidden_size = media or [], tied or {}, vocab_size, hidden_size
        self.privacy = privacy
        super().__init__(**more)
        if AUTO in sys.modules:  # someone asks for more than the configuration
            from mmkit.exchange.hf_register import register_classes

            register_classes()


def register_config() -> None:
    """Enter the model type in transformers' table."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    CONFIG_MAPPING.register(MODEL_TYPE, MmkitConfig, exist_ok=True)
