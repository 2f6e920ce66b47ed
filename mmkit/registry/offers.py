"""What a plugin may offer beside components: light records, each with the import path of the code that does it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Command:
    """A command of ``mmkit``.

    Attributes:
        name: as it is typed after ``mmkit``.
        summary: one line for ``mmkit --help``.
        function: import path ``module:function`` of what typer makes the command of: its annotated parameters are the
            arguments and options, its docstring is the help. Imported when the command is used.
        plugin: name of the plugin; filled in by discovery.
    """

    name: str
    summary: str
    function: str
    plugin: str = ""


@dataclass(frozen=True)
class ReportSection:
    """A section of the report that ``mmkit evaluate --report`` writes.

    Attributes:
        name: lower-case name, one of its own in the plugin.
        title: heading in the report.
        function: import path ``module:function``; called with a ``mmkit.Evaluation``, returns HTML, or None where it has
            nothing to say about this model.
        plugin: name of the plugin; filled in by discovery.
    """

    name: str
    title: str
    function: str
    plugin: str = ""


@dataclass(frozen=True)
class Renderer:
    """How values of one kind that a model makes are shown in reports and written to files.

    Attributes:
        name: the kind of value, as components say it in ``modality``.
        takes: import path ``module:function``, value → whether it is of this kind. Asked about what a model gave where that
            is more than text, numbers, and lists and mappings of them.
        html: import path, value → HTML. Given references, too: a path, bytes, whatever components of the kind read. What
            it raises as ``SampleError`` is shown in its place.
        file: import path, value → a file's suffix, such as ``png``, and its content as bytes.
        plugin: name of the plugin; filled in by discovery.
        media: MIME type of such files, ``image/png``, where a browser can show them: ``mmkit play`` then takes and shows
            values of this kind as pictures or sounds. Empty: files to upload, and what ``html`` says.
        attribution: import path, a column of ``mmkit.Explanation`` and one of its parts (``part.key`` is the name of a tensor
            in the encoder's batch, ``features`` for rows of the encoder, or ``rollout`` and ``relevance`` for attention to
            them; ``part.attribution`` its numbers) → a figure of Matplotlib, or HTML, which stands in pages alone, or None
            where it cannot draw it. Empty: a heat map is drawn.
    """

    name: str
    takes: str
    html: str
    file: str
    plugin: str = ""
    media: str = ""
    attribution: str = ""


@dataclass(frozen=True)
class Importer:
    """How checkpoints of one architecture of another library become models of mmkit.

    Attributes:
        name: the ``model_type`` that the checkpoint's ``config.json`` says.
        summary: one line for listings.
        function: import path ``module:function``; called with the checkpoint's folder, gives a ``mmkit.Imported``.
        plugin: name of the plugin; filled in by discovery.
    """

    name: str
    summary: str
    function: str
    plugin: str = ""


@dataclass(frozen=True)
class Imported:
    """What an importer gives.

    Attributes:
        spec: that describes the checkpoint; its components are built as they are for a saved model, reading no weights.
        tensors: every parameter of that model by its name, and the buffers that are saved.
    """

    spec: Mapping[str, Any]
    tensors: Mapping[str, Any]


@dataclass(frozen=True)
class Migration:
    """How specs and saved models written for an older version of a component go on working.

    It applies where a spec names the component as ``was``, or gives it one of the ``options`` that are no more.

    Attributes:
        kind, name: the component as it is now.
        was: the name that it had before; empty where that has not changed.
        options: names of options that are no more.
        function: import path ``module:function``, old options → new options, both plain dicts; empty where they stay.
        since: version of the plugin that made the change; said in the warning.
        plugin: name of the plugin; filled in by discovery.
    """

    kind: str
    name: str
    was: str = ""
    options: tuple[str, ...] = ()
    function: str = ""
    since: str = ""
    plugin: str = ""
