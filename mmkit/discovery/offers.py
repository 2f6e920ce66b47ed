"""What a plugin's hooks return, checked: the light records it offers."""

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from types import FunctionType, MethodType, ModuleType
from typing import Any

import pluggy

from mmkit.discovery import hookspecs
from mmkit.errors import nearest
from mmkit.registry.component import KINDS, Component
from mmkit.registry.offers import Command, Importer, Migration, Renderer, ReportSection

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NAMING = "use lower-case letters, digits, '-', '_' and '.', none of them first"
_PATH = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


class Misdeclared(ValueError):  # noqa: N818 - a finding, which becomes a report
    """The plugin was imported, and what it offers cannot be used; ``fix`` says what its author has to do."""

    def __init__(self, reason: str, fix: str) -> None:
        super().__init__(reason)
        self.fix = fix


@dataclass(frozen=True)
class Offers:
    """Everything one plugin offers."""

    components: tuple[Component, ...] = ()
    commands: tuple[Command, ...] = ()
    sections: tuple[ReportSection, ...] = ()
    renderers: tuple[Renderer, ...] = ()
    migrations: tuple[Migration, ...] = ()
    importers: tuple[Importer, ...] = ()


NOTHING = Offers()


def ask(module: ModuleType, name: str) -> Offers:
    """Call the hooks of an imported plugin.

    Raises:
        Misdeclared: what they return cannot be used.
    """
    manager = _Manager("mmkit")
    manager.add_hookspecs(hookspecs)
    manager.register(module, name)
    manager.check_pending()
    found = {hook: _records(manager, hook, kind, name) for hook, kind in hookspecs.HOOKS.items()}
    if not any(found.values()):
        raise Misdeclared(
            "the plugin offers no components", "define mmkit_components, and mark it with @mmkit.hookimpl"
        )
    return Offers(*found.values())


class _Manager(pluggy.PluginManager):
    """Asks pluggy about the functions of a module only; about all its names takes longer than importing it."""

    def parse_hookimpl_opts(self, plugin: Any, name: str) -> Any:
        return super().parse_hookimpl_opts(plugin, name) if _may_be_hook(plugin, name) else None

    def parse_hookspec_opts(self, module_or_class: Any, name: str) -> Any:
        return super().parse_hookspec_opts(module_or_class, name) if _may_be_hook(module_or_class, name) else None


def _may_be_hook(place: Any, name: str) -> bool:
    return not isinstance(place, ModuleType) or isinstance(vars(place).get(name), FunctionType | MethodType)


def _records(manager: pluggy.PluginManager, hook: str, kind: type, plugin: str) -> tuple[Any, ...]:
    found: list[Any] = []
    for records in getattr(manager.hook, hook)():
        if not isinstance(records, Iterable):
            fix = f"return a list of mmkit.{kind.__name__}"
            raise Misdeclared(f"{hook} returned a {type(records).__name__}", fix)
        for record in records:
            if not isinstance(record, kind):
                got = type(record).__name__
                raise Misdeclared(f"{hook} returned a {got} among its records", f"return mmkit.{kind.__name__} records")
            _CHECKS[kind](record)
            found.append(replace(record, plugin=plugin))  # type: ignore[type-var]
    _once(found)
    return tuple(found)


def _once(records: list[Any]) -> None:
    keys = [_key(record) for record in records]
    twice = sorted({key for key in keys if keys.count(key) > 1})
    if twice:
        raise Misdeclared(f"declared twice: {', '.join(twice)}", "give each its own name")


def _key(record: Any) -> str:
    if isinstance(record, Component):
        return f"{record.kind} {record.name}"
    if isinstance(record, Migration):
        return f"migration of {record.kind} {record.was or record.name} ({', '.join(record.options)})"
    return f"{_CALLED[type(record)]} {record.name}"


_CALLED = {Command: "command", ReportSection: "report section", Renderer: "renderer", Importer: "importer"}


def _check_component(record: Component) -> None:
    who = f"component {record.name!r}"
    _check_kind(who, record.kind)
    _check_name(who, record.name, "cannot be written after use:")
    _check_path(who, "builder", record.builder)
    _check_path(who, "config", record.config)


def _check_command(record: Command) -> None:
    who = f"command {record.name!r}"
    _check_name(who, record.name, "cannot be typed")
    _check_path(who, "function", record.function)


def _check_section(record: ReportSection) -> None:
    who = f"report section {record.name!r}"
    _check_name(who, record.name, "is no name")
    _check_path(who, "function", record.function)


def _check_importer(record: Importer) -> None:
    who = f"importer {record.name!r}"
    if not isinstance(record.name, str) or not record.name:
        raise Misdeclared(f"{who} is no name", "say the model_type of the checkpoints' config.json")
    _check_path(who, "function", record.function)


def _check_renderer(record: Renderer) -> None:
    who = f"renderer {record.name!r}"
    if not isinstance(record.name, str) or not record.name:
        raise Misdeclared(f"{who} is no name", "say the kind of value, as components do in modality")
    for field in ("takes", "html", "file", *(["attribution"] if record.attribution else [])):
        _check_path(who, field, getattr(record, field))


def _check_migration(record: Migration) -> None:
    who = f"migration of {record.name!r}"
    _check_kind(who, record.kind)
    if record.function:
        _check_path(who, "function", record.function)
    if not record.was and not record.options:
        raise Misdeclared(f"{who} says neither was nor options", "say by what an old spec is known")
    if record.options and not record.function:
        raise Misdeclared(f"{who} has options and no function", "say what becomes of the options")


_CHECKS: dict[type, Callable[[Any], None]] = {
    Component: _check_component,
    Command: _check_command,
    ReportSection: _check_section,
    Renderer: _check_renderer,
    Migration: _check_migration,
    Importer: _check_importer,
}


def _check_kind(who: str, kind: object) -> None:
    if kind not in KINDS:
        raise Misdeclared(f"{who} has kind {kind!r}", nearest(str(kind), KINDS))


def _check_name(who: str, name: object, what: str) -> None:
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        raise Misdeclared(f"{who} {what}", _NAMING)


def _check_path(who: str, field: str, path: object) -> None:
    if not isinstance(path, str) or not _PATH.fullmatch(path):
        raise Misdeclared(f"{who} has {field} {path!r}", "give an import path, module:name")
