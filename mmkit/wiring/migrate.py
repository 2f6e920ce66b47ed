"""Specs written for older versions of components, in today's words: what plugins say with ``mmkit_migrations``."""

import warnings
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from mmkit.errors import Problem, SpecError
from mmkit.registry.offers import Migration
from mmkit.registry.registry import Registry
from mmkit.spec.load import Location, Source
from mmkit.wiring.graph import import_path
from mmkit.wiring.places import walk

_MOST = 20
"""Migrations of one component, one after another; more go round in circles."""


def migrate(source: Source, registry: Registry) -> Source:
    """The spec with every component that a migration knows in its new form; a warning says what was changed.

    Raises:
        SpecError: a migration fails.
    """
    if not registry.migrations:
        return source
    problems: list[Problem] = []

    def change(value: Any, kinds: tuple[str, ...], location: Location) -> Any:
        found = _known(value, kinds, registry)
        tried: list[Migration] = []
        while found is not None and len(tried) < _MOST:
            tried.append(found)
            try:
                value = _changed(value, found)
            except Exception as error:
                problems.append(source.problem(location, f"{_who(found)} fails: {type(error).__name__}: {error}"))
                return value
            warnings.warn(str(source.problem(location, _said(found))), stacklevel=2)
            found = _known(value, kinds, registry)
        if found is not None:
            problems.append(source.problem(location, f"{_who(tried[0])} leads back to what it began with"))
        return value

    data = walk(source.data, change)
    if problems:
        raise SpecError(problems)
    return replace(source, data=data)


def _known(value: Any, kinds: tuple[str, ...], registry: Registry) -> Migration | None:
    use, options = _parts(value)
    for migration in registry.migrations:
        if migration.kind not in kinds:
            continue
        old = migration.was or migration.name
        full = use == f"{migration.plugin}/{old}"
        taken = migration.was and any(c.name == old and c.kind in kinds for c in registry.components)
        if not full and (use != old or taken):
            continue
        if migration.was or any(name in options for name in migration.options):
            return migration
    return None


def _parts(value: Any) -> tuple[str, Mapping[str, Any]]:
    if isinstance(value, str):
        return value, {}
    if isinstance(value, Mapping) and isinstance(value.get("use"), str):
        return value["use"], value
    return "", {}


def _changed(value: Any, migration: Migration) -> Any:
    use, given = _parts(value)
    prefix, slash, _ = use.rpartition("/")
    options = {name: option for name, option in given.items() if name != "use"}
    if migration.function:
        function: Callable[[dict[str, Any]], dict[str, Any]] = import_path(migration.function)
        options = dict(function(options))
        left = [name for name in migration.options if name in options]
        if left:
            raise ValueError(f"{left[0]!r} is still among the options")
    name = f"{prefix}{slash}{migration.name}"
    return {"use": name, **options} if options or not isinstance(value, str) else name


def _who(migration: Migration) -> str:
    return f"the migration of {migration.kind} {migration.name!r} (plugin {migration.plugin!r})"


def _said(migration: Migration) -> str:
    since = f" since version {migration.since}" if migration.since else ""
    new = f"plugin {migration.plugin!r}{since}"
    if migration.was:
        text = f"{migration.kind} {migration.was!r} is called {migration.name!r} in {new}"
    else:
        text = f"{migration.kind} {migration.name!r} has other options in {new}"
    names = f" ({', '.join(migration.options)})" if migration.options else ""
    return f"{text}{names}: it is read as the new form; write that into the spec"
