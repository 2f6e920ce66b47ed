"""Any mmkit model as a ``PreTrainedModel``: loaded, saved, trained and asked as transformers does it."""

import copy
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int
from torch import Tensor, nn
from transformers import GenerationConfig, GenerationMixin, PreTrainedModel
from transformers.generation.logits_process import LogitsProcessorList
from transformers.utils.generic import ModelOutput

from mmkit.errors import MmkitError, nearest
from mmkit.exchange.hf_build import build_core, lora_pattern, push_options, save_assets
from mmkit.exchange.hf_config import MmkitConfig
from mmkit.exchange.hf_forward import Asked, Forward, answer
from mmkit.exchange.hf_generation import Legal, can_cache, generation_config_of, merged
from mmkit.model.compact import require_whole
from mmkit.model.model import Model


@dataclass
class MmkitOutput(ModelOutput):
    """What ``forward`` gives.

    Attributes:
        loss: where there are labels; that of mmkit, the task's weight included.
        logits: of a task that generates, a row a place of ``input_ids``, over the shared table, minus infinity where the
            task cannot write; of another, the first tensor that its head predicts from. None while training.
        past_key_values: the decoding state, where a cache is used.
        outputs: of a task that does not generate, all tensors that its head predicts from, by name.
    """

    loss: Tensor | None = None
    logits: Tensor | None = None
    past_key_values: Any = None
    outputs: dict[str, Tensor] | None = None


class MmkitModel(PreTrainedModel, GenerationMixin):
    """An mmkit model, ``core``, behind transformers' interface.

    One batch is of one task: that of ``task_ids``, else ``config.task``.

    Args:
        core: a model that is there already; else one is built from the configuration, with fresh weights.
    """

    config_class = MmkitConfig
    base_model_prefix = "core"
    main_input_name = "input_ids"
    accepts_loss_kwargs = True
    supports_gradient_checkpointing = False

    def __init__(self, config: MmkitConfig, core: Model | None = None) -> None:
        super().__init__(config)
        self.core = build_core(config) if core is None else core
        self._buffers_built = {name: buffer for name, buffer in self.named_buffers() if not buffer.is_meta}
        self._no_split_modules = sorted({type(node).__name__ for node in self.core.nodes().values()})
        self.forward = Forward(self)  # type: ignore[method-assign]
        self.post_init()
        self.generation_config = generation_config_of(self.core, config.task)

    @property
    def lora_target_modules(self) -> str:
        """For peft's ``LoraConfig(target_modules=…)``: the linear layers of the backbones, nothing of encoders, adapters
        and heads."""
        return lora_pattern(self)

    def init_weights(self) -> None:
        """Nothing: components draw their own weights; ties are those of the components."""

    def _init_weights(self, module: nn.Module) -> None:
        pass

    def get_expanded_tied_weights_keys(self, all_submodels: bool = False) -> dict[str, str]:
        """Weights that are one tensor, as the configuration says."""
        return {f"core.{alias}": f"core.{name}" for alias, name in self.config.tied.items()}

    def get_input_embeddings(self) -> nn.Module | None:  # type: ignore[override]
        """The table of the main backbone, where that is an embedding."""
        backbone = self.core.parts.backbones.get("backbone")
        rows = self.core.parts.vocabulary_size
        found = (m for m in (backbone.modules() if backbone else ()) if isinstance(m, nn.Embedding))
        return next((m for m in found if rows and m.num_embeddings >= rows), None)

    @classmethod
    def of(cls, core: Model, task: str | None = None, bare: bool = False) -> "MmkitModel":
        """A model that is there as one of transformers; they share their weights.

        Args:
            task: that is asked where inputs name none; default: the first that generates, else the first.
            bare: leave the spec's sections ``data`` and ``train`` out.

        Raises:
            MmkitError: there is no such task, or the model holds adapters in fewer bits.
        """
        from mmkit.exchange.hf_build import config_of

        return cls(config_of(core, task, bare), core=core)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: Any, *args: Any, **kwargs: Any) -> Any:
        """As transformers', from a folder that ``save_pretrained`` or ``mmkit export hf`` wrote."""
        given = super().from_pretrained(pretrained_model_name_or_path, *args, **kwargs)
        model = given[0] if isinstance(given, tuple) else given
        model._restore_buffers()
        model.generation_config = merged(generation_config_of(model.core, model.config.task), model.generation_config)
        return given

    def _restore_buffers(self) -> None:
        """transformers empties buffers that are not saved; components have computed them when they were built."""
        saved = set(self.state_dict())
        for name, real in self._buffers_built.items():
            owner, _, attribute = name.rpartition(".")
            module = self.get_submodule(owner)
            if name not in saved and module._buffers.get(attribute) is not None:
                there = module._buffers[attribute]
                assert there is not None
                module._buffers[attribute] = real.to(there.device)
        self._buffers_built = {}

    def save_pretrained(self, save_directory: str | os.PathLike[str], **kwargs: Any) -> None:  # type: ignore[override]
        """As transformers', with the files that components need; ``push_to_hub=True`` is ``push_to_hub`` afterwards."""
        require_whole(self.core, "saved")
        kwargs["save_original_format"] = False
        pushed = push_options(kwargs, Path(save_directory))
        super().save_pretrained(save_directory, **kwargs)
        if kwargs.get("is_main_process", True):
            save_assets(self.core, Path(save_directory))
            if pushed is not None:
                self.push_to_hub(**pushed)

    def push_to_hub(  # type: ignore[override]
        self,
        repo_id: str,
        max_shard_size: int | str = "50GB",
        license: str | None = None,  # noqa: A002
        license_name: str | None = None,
        license_link: str | None = None,
        **options: Any,
    ) -> Any:
        """Upload the model, all that its processor needs, and its card. One that the repository has already stays.

        Args:
            license: for the card, one of the hub's identifiers. license_name, license_link: of the license ``other``.
            options: ``commit_message``, ``commit_description``, ``private``, ``token``, ``revision``, ``create_pr`` and
                ``tags``, as transformers has them.

        Raises:
            MmkitError: it cannot be uploaded, or the license is none; the message says why.
        """
        from mmkit.exchange.card_license import license_of
        from mmkit.exchange.hf_card import save_with_card
        from mmkit.exchange.hf_push import push_saved

        stated = license_of(license, license_name, license_link)

        def save(folder: Path) -> None:
            save_with_card(self, folder, repo_id, max_shard_size, stated)

        return push_saved(save, repo_id, message="Upload model", stated=stated, **options)

    def task_of(self, task_ids: Int[Tensor, " rows"] | None) -> str:
        """The one task of a batch.

        Raises:
            MmkitError: there are several, or there is no such task.
        """
        tasks = list(self.core.plan.tasks)
        if task_ids is None:
            task = self.config.task
            if task not in tasks:
                raise MmkitError(f"config.task is {task!r}: {nearest(task, tasks)}")
            return str(task)
        numbers = sorted(set(task_ids.flatten().tolist()))
        if len(numbers) != 1 or not 0 <= numbers[0] < len(tasks):
            named = ", ".join(tasks[n] if 0 <= n < len(tasks) else str(n) for n in numbers)
            raise MmkitError(f"a batch of transformers is of one task, got: {named}; make a batch for each")
        return tasks[numbers[0]]

    def forward(
        self,
        input_ids: Int[Tensor, "rows longest"],
        attention_mask: Tensor | None = None,
        token_type_ids: Tensor | None = None,
        task_ids: Tensor | None = None,
        media: dict[str, Any] | None = None,
        labels: Tensor | None = None,
        past_key_values: Any = None,
        use_cache: bool | None = None,
        logits_to_keep: int = 0,
        num_items_in_batch: Tensor | int | None = None,
        return_dict: bool | None = None,
        **_: Any,
    ) -> MmkitOutput:
        """One batch of one task; the arguments are what the processor gives.

        Args:
            labels: of a task that generates, the ids at their own places of ``input_ids``, -100 where nothing is learnt;
                of another, what its head's ``target`` gives, a row a sample.
            num_items_in_batch: labels that are learnt in all passes of one optimizer step; the loss is divided by it.

        Raises:
            SampleError: placeholders and media do not belong together.
        """
        asked = Asked(self.core, self.task_of(task_ids), input_ids, attention_mask, token_type_ids, media)
        given = answer(asked, labels, past_key_values, bool(use_cache), logits_to_keep, num_items_in_batch)
        output = MmkitOutput(**given)
        return output if return_dict is not False else output.to_tuple()  # type: ignore[return-value]

    def prepare_inputs_for_generation(  # type: ignore[override]
        self, input_ids: Tensor, past_key_values: Any = None, **kwargs: Any
    ) -> dict[str, Any]:
        """After the first step of a cache only the last token is read, and no media."""
        names = ("attention_mask", "token_type_ids", "task_ids", "media", "use_cache")
        inputs = {name: kwargs[name] for name in names if kwargs.get(name) is not None}
        if past_key_values is not None:
            input_ids = input_ids[:, -1:]
            inputs = {name: value for name, value in inputs.items() if name in ("task_ids", "use_cache")}
        return {**inputs, "input_ids": input_ids, "past_key_values": past_key_values, "logits_to_keep": 1}

    @classmethod
    def _supports_default_dynamic_cache(cls) -> bool:
        """A backbone brings its own cache."""
        return False

    @torch.no_grad()
    def generate(  # type: ignore[override]
        self, inputs: Tensor | None = None, generation_config: GenerationConfig | None = None, **kwargs: Any
    ) -> Any:
        """As transformers', by the rules of the task: only its vocabulary, by its grammar, and its head's decoding options
        where none are given.

        Raises:
            MmkitError: the task does not generate, or writes several ids a step.
        """
        task = self.task_of(kwargs.get("task_ids"))
        own = generation_config_of(self.core, task)
        if generation_config is None:
            generation_config = self.generation_config if task == self.config.task else own
        rules = LogitsProcessorList([Legal(self.core, task), *(kwargs.pop("logits_processor", None) or [])])
        chosen = copy.deepcopy(generation_config)
        inputs_only = chosen.update(**kwargs)
        chosen.use_cache = chosen.use_cache and can_cache(self.core, task)
        plain: Any = super()
        return plain.generate(inputs, generation_config=chosen, logits_processor=rules, **inputs_only)
