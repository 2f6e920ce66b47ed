"""The form of a spec. Every level refuses unknown keys; every field is documented. Imports no torch."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ByteSize, ConfigDict, Field, model_validator

from mmkit.spec.strict import Strict
from mmkit.spec.tune import TuneSection


class Use(BaseModel):
    """A component by name, with its options; the options are validated by the component's own config."""

    model_config = ConfigDict(frozen=True, extra="allow")
    use: str = Field(description="Name of a component: `name` or `plugin/name`.")

    @property
    def options(self) -> dict[str, Any]:
        """Everything beside ``use``."""
        return dict(self.model_extra or {})


def _use(value: Any) -> Any:
    return {"use": value} if isinstance(value, str) else value


ComponentUse = Annotated[Use, BeforeValidator(_use)]


def _listed(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_listed, json_schema_input_type=list[str] | str)]
"""Names; a single one may be written without brackets."""


class Modality(Strict):
    """How one kind of raw value becomes tokens of the stream."""

    encoder: ComponentUse | None = Field(None, description="Encoder of the raw values.")
    adapter: ComponentUse | None = Field(
        None,
        description="Soft adapter (features → tokens); without an encoder a vocabulary (raw ⇄ ids), or a continuous adapter "
        "(raw ⇄ vectors), which can only be written.",
    )

    @model_validator(mode="after")
    def _something(self) -> "Modality":
        if self.encoder is None and self.adapter is None:
            raise ValueError("needs an encoder, an adapter, or both")
        return self


class Read(Strict):
    """One node that another node reads."""

    node: str = Field(description="Name of the node whose features are read.")
    adapter: ComponentUse | None = Field(None, description="Soft adapter between the two.")


class Node(Strict):
    """A further backbone, wired by name."""

    backbone: ComponentUse = Field(description="The backbone.")
    reads: list[Read] = Field(description="The nodes whose features form its prompt, in order.", min_length=1)


class Task(Strict):
    """One task: what goes in, what comes out, and the head that reads a node."""

    input: str = Field(description="Template of the prompt; `{name}` is a column of the data.")
    output: str | None = Field(None, description="Template of the target: one `{column}`.")
    head: ComponentUse = Field(description="Task head.")
    reads: Names | None = Field(
        None,
        min_length=1,
        description="Node(s) the head reads; default: the backbone, else the one modality of the input.",
    )
    columns: dict[str, str | Annotated[list[str], Field(min_length=1)]] = Field(
        {},
        description="Column → modality, where the name alone does not tell; of an output that is generated also several: its "
        "values are then lists of parts, `[{text: …}, {image: …}]`.",
    )
    weight: float = Field(1.0, gt=0, description="Weight of this task's loss.")
    metrics: list[ComponentUse] = Field([], description="Metrics beside those of the head.")


class DataSource(Strict):
    """Rows for one task."""

    task: str = Field(description="Name of the task.")
    path: str | None = Field(None, description="JSONL, CSV, Parquet file(s) (globs allowed), a folder, or `hub:name`.")
    source: ComponentUse | None = Field(None, description="A component that gives the rows, instead of `path`.")
    weight: float = Field(1.0, gt=0, description="How often this source is drawn, beside the others.")
    split: str = Field("train", description="Split of a hub data set or folder.")
    streaming: bool = Field(False, description="Read rows one by one instead of indexing them.")
    rename: dict[str, str] = Field({}, description="Column of the file → name used in the templates.")
    limit: int | None = Field(None, gt=0, description="Use only the first rows.")
    shuffle_buffer: int = Field(1000, gt=0, description="Rows of a streamed source that are shuffled together.")

    @model_validator(mode="after")
    def _one(self) -> "DataSource":
        if (self.path is None) == (self.source is None):
            raise ValueError("give either path or source")
        return self

    @property
    def name(self) -> str:
        """What messages call it."""
        return self.path or f"source {self.source.use if self.source else ''}"


class Urls(Strict):
    """Which URLs in media columns are fetched."""

    hosts: Names = Field(description="Hosts that a URL may name; globs such as `*.example.org`.", min_length=1)
    private: bool = Field(False, description="Whether a host may have a private, loopback or link-local address.")
    max_mebibytes: float = Field(64, gt=0, description="Largest content.")
    seconds: float = Field(20, gt=0, description="Longest time for one URL, redirects included.")


class Data(Strict):
    """Where samples come from."""

    train: list[DataSource] = Field([], description="Sources to train on, mixed by weight.")
    valid: list[DataSource] = Field([], description="Sources to watch while training.")
    test: list[DataSource] = Field([], description="Held-out sources for evaluation.")
    root: str | None = Field(None, description="Folder that media paths must stay in; default: that of the manifest.")
    urls: Urls | None = Field(
        None, description="Fetch http(s) URLs in media columns; without it a URL is a bad sample."
    )
    on_bad_sample: Literal["raise", "skip"] = Field("raise", description="What a bad row does.")
    max_bad: float = Field(0.01, ge=0, le=1, description="Largest share of bad rows before a skipping run stops.")
    workers: int = Field(0, ge=0, description="Data workers.")


Tracker = Literal["tensorboard", "wandb", "mlflow", "trackio"]
Rate = Annotated[float, Field(gt=0)]


class LoraOptions(Strict):
    """Low-rank adapters instead of whole weights (Hu et al. 2021)."""

    r: int = Field(16, gt=0, description="Rank.")
    alpha: float | None = Field(None, gt=0, description="The update is scaled by alpha / r; default: 2 r.")
    dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the adapters.")
    targets: Names = Field(
        [],
        description="Globs of linear layers (`backbone.*.q_proj`) or nodes; default: every linear layer of the "
        "backbones that `train` names whole, but for their output layer.",
    )
    dora: bool = Field(False, description="Train magnitudes apart from directions (Liu et al. 2024).")
    merge: bool = Field(True, description="Fold into the weights when the stage ends and on save; else keep apart.")
    bits: Literal[4] | None = Field(
        None, description="Hold the frozen weights under the adapters in 4 bits (QLoRA); needs mmkit[qlora]."
    )


class Stage(Strict):
    """One stage of training."""

    name: str = Field(description="Name in logs and folders.")
    train: Names = Field(
        ["*"],
        description="Globs of nodes or parameters that train; everything else is frozen. Of a node named whole that "
        "has LoRA, the adapters train.",
        min_length=1,
    )
    lora: LoraOptions | None = Field(None, description="Train low-rank adapters; `{}` for the defaults.")
    steps: int | None = Field(None, gt=0, description="Optimizer steps.")
    epochs: float | None = Field(None, gt=0, description="Passes over the data, instead of steps.")
    lr: Rate | dict[str, Rate] = Field(
        1e-3, description="Peak learning rate, or one a glob of nodes or parameters; a later glob wins."
    )
    schedule: Literal["constant", "linear", "cosine"] = Field("cosine", description="Learning-rate schedule.")
    warmup: float = Field(0.05, ge=0, lt=1, description="Share of the steps that warm up.")
    weight_decay: float = Field(0.01, ge=0, description="AdamW weight decay.")
    tokens_per_batch: int | None = Field(
        None,
        gt=0,
        description="Tokens a forward pass at most (input and generated target), of all processes together; instead of "
        "batch_size.",
    )
    batch_size: int | None = Field(
        default_factory=lambda given: None if given.get("tokens_per_batch") else 32,
        gt=0,
        description="Samples a forward pass, of all processes together; 32 unless tokens_per_batch is given.",
    )
    lookahead: int = Field(
        64, ge=0, description="With tokens_per_batch: prepared samples from which the gaps of a batch are filled."
    )
    long_samples: Literal["raise", "drop", "truncate", "split"] = Field(
        "raise", description="With tokens_per_batch: what happens to a sample that has more; only text is ever cut."
    )
    accumulate: int = Field(1, gt=0, description="Forward passes an optimizer step.")
    clip: float = Field(1.0, gt=0, description="Largest gradient norm.")
    optimizer: Literal["adamw", "adam"] = Field("adamw", description="Optimizer; adam has no weight decay.")

    @model_validator(mode="after")
    def _length(self) -> "Stage":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps or epochs")
        if self.tokens_per_batch is None:
            for name in ("lookahead", "long_samples"):
                if getattr(self, name) != type(self).model_fields[name].default:
                    raise ValueError(f"{name} needs tokens_per_batch")
        elif self.batch_size is not None:
            raise ValueError("give either batch_size or tokens_per_batch")
        return self


CacheUse = Literal["auto", "always", "never"]


class FeatureCache(Strict):
    """Features of frozen encoders and ids of codecs, computed once and kept on disk for later epochs, stages, evaluations
    and runs."""

    use: CacheUse = Field(
        "auto",
        description="auto: where rows come round more than once while an encoder is frozen; always: wherever an encoder "
        "is frozen; never: not at all. `cache: true` and `cache: false` mean always and never. Ids of codecs that hold a "
        "trained network are kept unless it is never.",
    )
    size: ByteSize = Field(
        ByteSize(10 * 10**9),
        description="Most bytes on disk, of all encoders and runs together, for example 500MB or 10GB. What was used "
        "least recently makes room; features in use never do: nothing more is added then.",
    )
    folder: str | None = Field(
        None,
        description="Where they lie, relative to the working folder; default: features in $MMKIT_CACHE or "
        "~/.cache/mmkit.",
    )


def _cache(value: Any) -> Any:
    if isinstance(value, bool):
        return {"use": "always" if value else "never"}
    return {"use": value} if isinstance(value, str) else value


class KeepBest(Strict):
    """Which evaluation's model is kept."""

    metric: str = Field(description="`task.metric`, or `loss`: the weighted sum of the tasks' losses.")
    mode: Literal["min", "max"] | None = Field(
        None,
        description="Default: min for losses, error rates and distances (names that end in loss, wer, cer, ter, mae, rmse, "
        "perplexity, distance, mcd), else max.",
    )


def _metric(value: Any) -> Any:
    return {"metric": value} if isinstance(value, str) else value


class Privacy(Strict):
    """Differentially private training, DP-SGD (Abadi et al. 2016), of everything that the stages train.

    One row of data.train is protected. Needs mmkit[privacy].
    """

    epsilon: float | None = Field(
        None, gt=0, description="Budget of the whole run, all stages together; the noise follows from it."
    )
    noise_multiplier: float | None = Field(
        None, ge=0, description="Noise in units of clip, instead of epsilon; 0 protects nothing."
    )
    delta: float = Field(
        gt=0, lt=1, description="Probability that the guarantee does not hold; below 1 / rows, best far below."
    )
    clip: float = Field(1.0, gt=0, description="Largest norm of one row's gradient. The stages' own clip is not used.")
    accountant: Literal["prv", "rdp"] = Field(
        "prv",
        description="How epsilon is computed: prv (Gopi et al. 2021) is tight, rdp (Mironov 2017) an upper bound.",
    )
    seed: int | None = Field(
        None,
        ge=0,
        description="Makes noise and sampling repeatable, for tests: who knows it can take the noise away. Default: from "
        "the operating system, kept nowhere but in checkpoints of an unfinished run.",
    )

    @model_validator(mode="after")
    def _one(self) -> "Privacy":
        if (self.epsilon is None) == (self.noise_multiplier is None):
            raise ValueError("give either epsilon or noise_multiplier")
        return self


class Train(Strict):
    """How the model is trained."""

    stages: list[Stage] = Field(description="Stages, in order.", min_length=1)
    seed: int = Field(0, description="Seed of weights, order and dropout.")
    precision: Literal["fp32", "bf16"] = Field("fp32", description="Arithmetic of the forward pass.")
    compile: bool = Field(False, description="Compile the repeated blocks with torch.compile.")
    checkpoint_activations: bool = Field(
        False, description="Run the repeated blocks again in the backward pass instead of keeping what they computed."
    )
    parallel: Literal["ddp", "fsdp2"] | None = Field(
        None,
        description="With several processes (torchrun, accelerate launch): ddp, the default, keeps the whole model in "
        "each; fsdp2 keeps a part of weights and optimizer state in each.",
    )
    probe: bool = Field(False, description="Run the largest batch of each stage first, to see that memory suffices.")
    output: str = Field("runs/model", description="Folder of the trained model, relative to the working folder.")
    save_every: int | None = Field(None, gt=0, description="Steps between checkpoints, from which a run resumes.")
    keep: int = Field(2, gt=0, description="Checkpoints kept; an older one goes once a newer one is durable.")
    log_every: int = Field(20, gt=0, description="Steps between log lines.")
    cache: Annotated[FeatureCache, BeforeValidator(_cache, json_schema_input_type=FeatureCache | CacheUse | bool)] = (
        Field(
            FeatureCache(),
            description="Features of frozen encoders and ids of codecs, kept on disk; or one word for its `use`.",
        )
    )
    trackers: (
        Annotated[list[Tracker], BeforeValidator(_listed, json_schema_input_type=list[Tracker] | Tracker)] | None
    ) = Field(
        None, description="Where figures go beside the log; default: tensorboard (<output>/logs) where installed."
    )
    callbacks: list[ComponentUse] = Field([], description="Components that are told what happens in training.")
    eval_every: int | None = Field(
        None, gt=0, description="Steps between evaluations on data.valid; default: at the end of each stage."
    )
    eval_limit: int | None = Field(None, gt=0, description="Most rows a source in these evaluations.")
    privacy: Privacy | None = Field(None, description="Train with differential privacy; see the page on privacy.")
    keep_best: Annotated[KeepBest, BeforeValidator(_metric, json_schema_input_type=KeepBest | str)] | None = Field(
        None, description="Keep the model of the evaluation that is best by this metric, instead of the last."
    )


class Spec(Strict):
    """The whole spec."""

    mmkit: Literal[1] = Field(description="Version of the spec's form.")
    modalities: dict[str, Modality] = Field(description="Open-named modalities.", min_length=1)
    backbone: ComponentUse | None = Field(None, description="The backbone every template's stream runs through.")
    nodes: dict[str, Node] = Field({}, description="Further backbones, wired by name.")
    tasks: dict[str, Task] = Field(description="Tasks by name.", min_length=1)
    data: Data | None = Field(None, description="Where samples come from.")
    train: Train | None = Field(None, description="How to train.")
    tune: TuneSection | None = Field(None, description="What `mmkit tune` searches; nothing else takes notice of it.")
