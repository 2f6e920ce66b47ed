"""The light record a plugin gives for each thing it offers. Nothing heavy is imported until a spec uses it."""

from dataclasses import dataclass

API_VERSION = 1
"""What plugins are written against: the newest plugin API of this mmkit."""
SUPPORTED_APIS: tuple[int, ...] = (1,)
"""The plugin APIs that this mmkit loads, ``API_VERSION`` last; a plugin for another one is listed as incompatible."""
KINDS = ("encoder", "adapter", "vocabulary", "continuous", "backbone", "head", "source", "metric", "callback")


@dataclass(frozen=True)
class Component:
    """One component of a plugin.

    Attributes:
        kind: encoder, adapter (soft), vocabulary (ids), continuous (vectors), backbone, head, source (rows), metric or
            callback (of training).
        name: short name that a spec's ``use:`` gives.
        summary: one line for listings.
        builder: import path ``module:function``; called as ``builder(context, **config_fields)``. The context of a
            source is a ``SourceContext``, that of a callback a ``RunContext``, else a ``BuildContext``.
        config: import path ``module:class`` of the pydantic config; that module imports no torch.
        modality: what kind of raw value an encoder, vocabulary or continuous adapter takes; any string.
        licence: SPDX name of the component's own code.
        generates: whether a backbone can decode.
        autoregressive: whether a head needs a backbone that generates.
        spells: whether a head's targets are ids of the output column's vocabulary (``generate``, ``ctc``).
        reads: how many nodes a head reads.
        cases: import path ``module:function`` of what the conformance kit tries it on, a list of
            ``mmkit.testing.Case``; read by nothing else.
        api: the API version the record was written for; a record that does not say it is of the first.
        plugin: name of the plugin; filled in by discovery.
        continuous: whether a head's targets are vectors of the output column's continuous adapter (``flow``).
    """

    kind: str
    name: str
    summary: str
    builder: str
    config: str
    modality: str = ""
    licence: str = "Apache-2.0"
    generates: bool = False
    autoregressive: bool = False
    spells: bool = False
    reads: int = 1
    cases: str = ""
    api: int = 1
    plugin: str = ""
    continuous: bool = False

    @property
    def full_name(self) -> str:
        """``plugin/name``."""
        return f"{self.plugin}/{self.name}"
