"""What this plugin offers: a component of every kind, and something for every hook. Imports no torch."""

from mmkit import Command, Component, Migration, ReportSection, hookimpl


@hookimpl
def mmkit_components() -> list[Component]:
    return [
        Component(
            kind="encoder",
            name="signal-patches",
            summary="A signal cut into patches, each through a small network.",
            builder="mmkit_frozen.patches:build",
            config="mmkit_frozen.config:PatchesConfig",
            modality="signal",
            licence="Apache-2.0",
            cases="mmkit_frozen.cases:patches",
            api=1,
        ),
        Component(
            kind="adapter",
            name="halve",
            summary="Half as many tokens.",
            builder="mmkit_frozen.halve:build",
            config="mmkit_frozen.config:HalveConfig",
            cases="mmkit_frozen.cases:halve",
        ),
        Component(
            kind="vocabulary",
            name="levels",
            summary="A signal as ids of its levels, between the bounds of the data.",
            builder="mmkit_frozen.levels:build",
            config="mmkit_frozen.config:LevelsConfig",
            modality="signal",
            cases="mmkit_frozen.cases:levels",
        ),
        Component(
            kind="backbone",
            name="one-gru",
            summary="One GRU layer.",
            builder="mmkit_frozen.gru:build",
            config="mmkit_frozen.config:GruConfig",
            generates=True,
            cases="mmkit_frozen.cases:gru",
        ),
        Component(
            kind="head",
            name="quantiles",
            summary="Quantiles of a number.",
            builder="mmkit_frozen.quantiles:build",
            config="mmkit_frozen.config:QuantilesConfig",
            reads=1,
            cases="mmkit_frozen.cases:quantiles",
        ),
        Component(
            kind="head",
            name="continue",
            summary="The output column, id by id.",
            builder="mmkit_frozen.go_on:build",
            config="mmkit_frozen.config:ContinueConfig",
            autoregressive=True,
            spells=True,
            cases="mmkit_frozen.cases:go_on",
        ),
        Component(
            kind="source",
            name="waves",
            summary="Made signals.",
            builder="mmkit_frozen.around:build_waves",
            config="mmkit_frozen.config:WavesConfig",
        ),
        Component(
            kind="metric",
            name="answers",
            summary="How many answers there are.",
            builder="mmkit_frozen.around:build_answers",
            config="mmkit_frozen.config:AnswersConfig",
        ),
        Component(
            kind="callback",
            name="watch",
            summary="Writes down the last step.",
            builder="mmkit_frozen.watch:build",
            config="mmkit_frozen.config:WatchConfig",
        ),
    ]


@hookimpl
def mmkit_commands() -> list[Command]:
    return [Command(name="waves", summary="Cycles of made signals.", function="mmkit_frozen.around:waves")]


@hookimpl
def mmkit_report_sections() -> list[ReportSection]:
    return [ReportSection(name="signals", title="Signals", function="mmkit_frozen.around:section")]


@hookimpl
def mmkit_migrations() -> list[Migration]:
    return [
        Migration(kind="backbone", name="one-gru", was="gru-1", since="1.0"),
        Migration(
            kind="backbone", name="one-gru", options=("width",), function="mmkit_frozen.around:width", since="1.0"
        ),
    ]
