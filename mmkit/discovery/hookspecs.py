"""The hooks a plugin may implement. Each returns light records; what they name is imported when it is used."""

from collections.abc import Sequence

import pluggy

from mmkit.registry.component import Component
from mmkit.registry.offers import Command, Importer, Migration, Renderer, ReportSection

hookspec = pluggy.HookspecMarker("mmkit")
hookimpl = pluggy.HookimplMarker("mmkit")
"""Marks a plugin's functions that implement a hook."""


@hookspec
def mmkit_components() -> Sequence[Component]:
    """The components this plugin offers: what a spec's ``use:`` can name."""
    return ()


@hookspec
def mmkit_commands() -> Sequence[Command]:
    """Commands of the ``mmkit`` command line."""
    return ()


@hookspec
def mmkit_report_sections() -> Sequence[ReportSection]:
    """Sections of the report of an evaluation."""
    return ()


@hookspec
def mmkit_renderers() -> Sequence[Renderer]:
    """How generated values are shown and written to files."""
    return ()


@hookspec
def mmkit_migrations() -> Sequence[Migration]:
    """How specs written for older versions of this plugin's components are read."""
    return ()


@hookspec
def mmkit_importers() -> Sequence[Importer]:
    """Architectures of other libraries whose checkpoints ``mmkit import hf`` reads."""
    return ()


HOOKS: dict[str, type] = {
    "mmkit_components": Component,
    "mmkit_commands": Command,
    "mmkit_report_sections": ReportSection,
    "mmkit_renderers": Renderer,
    "mmkit_migrations": Migration,
    "mmkit_importers": Importer,
}
"""Hook → the records it returns."""
