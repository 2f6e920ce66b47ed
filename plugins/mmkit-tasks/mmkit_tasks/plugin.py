"""What this plugin offers. Imports no torch."""

from mmkit import Component, hookimpl


def _head(
    name: str,
    config: str,
    summary: str,
    reads: int = 1,
    spells: bool = False,
    feeds: bool = False,
    continuous: bool = False,
    module: str = "config",
) -> Component:
    return Component(
        kind="head",
        name=name,
        summary=summary,
        builder=f"mmkit_tasks.{name}:build",
        config=f"mmkit_tasks.{module}:{config}",
        reads=reads,
        spells=spells,
        autoregressive=feeds,
        continuous=continuous,
        cases=f"mmkit_tasks.conformance:{name}",
    )


def _adapter(name: str, builder: str, config: str, summary: str, cases: str = "") -> Component:
    return Component(
        kind="adapter",
        name=name,
        summary=summary,
        builder=f"mmkit_tasks.{builder}",
        config=f"mmkit_tasks.adapter_config:{config}",
        cases=f"mmkit_tasks.conformance:{cases or name}",
    )


def _metric(name: str, config: str, summary: str) -> Component:
    module = name.replace("-", "_")
    return Component(
        kind="metric",
        name=name,
        summary=summary,
        builder=f"mmkit_tasks.{module}:build",
        config=f"mmkit_tasks.metric_config:{config}",
        cases=f"mmkit_tasks.conformance:{module}",
    )


@hookimpl
def mmkit_components() -> list[Component]:
    """Task heads, adapters for every modality, and metrics of generated values."""
    return [
        _head(
            "generate",
            "GenerateConfig",
            "The output column's ids one after another: greedy, sampled or beam search.",
            spells=True,
            feeds=True,
        ),
        _head("classify", "ClassifyConfig", "One of a list of labels, or any number of them."),
        _head("regress", "RegressConfig", "One or several numbers."),
        _head("ctc", "CtcConfig", "The output column spelt along an encoder's rows, without a backbone.", spells=True),
        _head("contrastive", "ContrastiveConfig", "Two nodes in one space, as CLIP and SigLIP.", reads=2),
        _head(
            "flow",
            "FlowConfig",
            "The output column's vectors made out of noise in a few steps: flow matching with guidance.",
            continuous=True,
            module="flow_config",
        ),
        _adapter("linear", "adapters:build_linear", "LinearConfig", "One linear layer for every row.", "positions"),
        _adapter("mlp", "adapters:build_mlp", "MlpConfig", "Linear layers with GELU for every row.", "positions"),
        _adapter("stack", "adapters:build_stack", "StackConfig", "Joins neighbouring rows: fewer, wider tokens."),
        _adapter("resampler", "resampler:build", "ResamplerConfig", "Learned queries: a fixed number of tokens."),
        _adapter("pool", "adapters:build_pool", "PoolConfig", "One token an item."),
        _metric("judged", "JudgedConfig", "What another saved model says of each prediction, against what was wanted."),
        _metric("codebook-use", "CodebookUseConfig", "Share of a vocabulary's codes that are used, and how evenly."),
    ]
