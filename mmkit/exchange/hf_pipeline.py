"""``pipeline("mmkit", model=…)`` of transformers: rows of any task and modality in, values out."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from torch import Tensor
from torch.utils.data import DataLoader
from transformers.pipelines.base import Pipeline
from transformers.pipelines.pt_utils import PipelineDataset, PipelineIterator

from mmkit.errors import MmkitError, SampleError
from mmkit.exchange.hf_inputs import packed, padded, split
from mmkit.exchange.hf_model import MmkitModel
from mmkit.exchange.hf_processor import MmkitProcessor
from mmkit.interfaces.codec import streams_of
from mmkit.model.batch import Sample
from mmkit.model.generate import predict_batch

NAME = "mmkit"


class MmkitPipeline(Pipeline):
    """Answers rows, mappings of columns, as ``Model.predict`` does.

    Called with a row it gives a value, with a list of rows a list; with a data set or another iterable an iterator, which
    reads as it goes. ``batch_size`` rows are answered at once, ``num_workers`` processes prepare them.

    Options of a call; all but ``task``, which means something else there, may be given to ``pipeline(…)`` too:

    * ``task``: of the model; default: that of its configuration.
    * ``root``: paths of media are read inside this folder only.
    * anything else goes to ``generate`` (``max_new_tokens``, ``num_beams`` …), of a task that transformers decodes; of
      another, to ``Model.predict``.
    """

    model: Any
    processor: Any
    _load_processor: Any = False  # the model has all that it needs
    _load_tokenizer: Any = False
    _load_feature_extractor: Any = False
    _load_image_processor: Any = False
    _load_video_processor: Any = False

    def __init__(self, model: Any, processor: Any = None, **more: Any) -> None:
        if not isinstance(model, MmkitModel):
            raise MmkitError(
                f"pipeline('mmkit') is for models that `mmkit export hf` wrote, got a {type(model).__name__}; "
                "name the kind of pipeline that this model has"
            )
        own = processor if isinstance(processor, MmkitProcessor) else MmkitProcessor.of(model)
        super().__init__(model, processor=own, **more)

    def _sanitize_parameters(
        self, task: str | None = None, root: Any = None, **options: Any
    ) -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
        given = {"task": task, "root": root}
        return {name: value for name, value in given.items() if value is not None}, options, {}

    def preprocess(self, input_: Any, task: str | None = None, root: Any = None) -> Any:  # type: ignore[override]
        """A row → its sample."""
        task = self.processor.known(task)
        if not isinstance(input_, Mapping):
            columns = ", ".join(self.processor.prepare.plan.tasks[task].columns)
            raise SampleError(
                f"a row is a mapping of columns, got a {type(input_).__name__}; task {task!r} reads: {columns or 'nothing'}"
            )
        return {"task": task, "sample": self.processor.sample(input_, task, root=root)}

    def _forward(self, input_tensors: Any, **options: Any) -> Any:
        """A batch → its values."""
        inputs, core = dict(input_tensors), self.model.core
        task = self.model.task_of(inputs["task_ids"])
        name = core.plan.tasks[task].output_modality or ""
        if core.parts.heads[task].autoregressive and streams_of(core.vocabularies[name]) == 1:
            return {"values": self.processor.batch_decode(self.model.generate(**inputs, **options), task)}
        prompts = split(inputs["input_ids"], inputs["attention_mask"], inputs["token_type_ids"])[0]
        batch = packed(core, task, prompts, inputs.get("media")).to(core.device)
        return {"values": predict_batch(core, task, batch, **options)}

    def postprocess(self, model_outputs: Any, **_: Any) -> list[Any]:
        """The values of a batch."""
        return list(model_outputs["values"])

    def _collate(self, prepared: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        samples: list[Sample] = [one["sample"] for one in prepared]
        return padded(self.processor.prepare, self.processor.config.vocab_size, samples, targets=False)

    def get_iterator(
        self,
        inputs: Any,
        num_workers: int,
        batch_size: int,
        preprocess_params: Mapping[str, Any],
        forward_params: Mapping[str, Any],
        postprocess_params: Mapping[str, Any],
    ) -> Iterator[Any]:
        """The values of rows, one after another."""
        indexed = hasattr(inputs, "__len__") and hasattr(inputs, "__getitem__")
        kind = PipelineDataset if indexed else PipelineIterator
        rows = kind(inputs, self.preprocess, preprocess_params)
        loader = DataLoader(
            rows, batch_size=batch_size, num_workers=num_workers if indexed else 0, collate_fn=self._collate
        )
        for batch in loader:
            yield from self.postprocess(self.forward(batch, **forward_params), **postprocess_params)

    def __call__(  # type: ignore[override]
        self, inputs: Any, *, num_workers: int | None = None, batch_size: int | None = None, **options: Any
    ) -> Any:
        """The value of a row, or those of several."""
        before, forward, after = self._sanitize_parameters(**options)
        answers = partial(
            self.get_iterator,
            num_workers=num_workers or self._num_workers or 0,
            batch_size=batch_size or self._batch_size or 1,
            preprocess_params={**self._preprocess_params, **before},
            forward_params={**self._forward_params, **forward},
            postprocess_params={**self._postprocess_params, **after},
        )
        if isinstance(inputs, list | tuple):
            return list(answers(inputs))
        if isinstance(inputs, Iterable) and not isinstance(inputs, Mapping | str | bytes | Tensor):
            return answers(inputs)
        return next(answers([inputs], num_workers=0))

    def save_pretrained(self, save_directory: Any, **kwargs: Any) -> None:
        """Model and processor; the folder is loaded by ``pipeline("mmkit")`` again, and brings no code."""
        self.model.save_pretrained(save_directory, **kwargs)
        self.processor.save_pretrained(save_directory)

    def push_to_hub(self, repo_id: str, **kwargs: Any) -> Any:
        """Model, processor and card, as the model's own."""
        return self.model.push_to_hub(repo_id, **kwargs)
