"""Names of new projects: what is allowed, and what to write where one is not."""

import re

import mmkit
from mmkit.discovery import discover
from mmkit.errors import MmkitError

LONGEST = 30
PREFIX = "mmkit-"
_PLUGIN = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
_RECIPE = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*")
_MODALITY = re.compile(r"[a-z][a-z0-9]*(_[a-z0-9]+)*")


def camel(name: str) -> str:
    """``heart-rate`` → ``HeartRate``."""
    return "".join(part.capitalize() for part in name.split("-"))


def check_plugin(name: str, suffix: str) -> None:
    """A plugin can be called so, and its class ``Name`` + suffix hides none of mmkit's.

    Raises:
        MmkitError: it cannot.
    """
    command = "mmkit new plugin"
    if name.startswith(PREFIX):
        _refuse(name, "plugin", f"its distribution is called {PREFIX}NAME without your saying so", command)
    _check(_PLUGIN, name, "plugin", "lower-case letters, digits and single '-' between them", command)
    if camel(name) + suffix in mmkit.__all__:
        reason = f"its class would be called {camel(name)}{suffix}, which is one of mmkit's own"
        raise MmkitError(f"{name!r} cannot be the name of this plugin: {reason}\n    fix: choose another name")
    for report in discover().reports:
        if report.name == name:
            raise MmkitError(
                f"a plugin {name!r} is installed already, by {report.distribution} {report.version}; two of one name "
                f"are both refused\n    fix: choose another name, or pip uninstall {report.distribution}"
            )


def check_recipe(name: str) -> None:
    """A recipe can be called so.

    Raises:
        MmkitError: it cannot.
    """
    _check(_RECIPE, name, "recipe", "lower-case letters, digits and single '-' or '_' between them", "mmkit new recipe")


def check_modality(name: str) -> None:
    """A modality can be called so; templates of tasks write it in braces.

    Raises:
        MmkitError: it cannot.
    """
    _check(_MODALITY, name, "modality", "lower-case letters, digits and single '_' between them", "--modality", "_")


def _check(pattern: re.Pattern[str], name: str, what: str, allowed: str, command: str, joint: str = "-") -> None:
    if not pattern.fullmatch(name) or len(name) > LONGEST:
        reason = f"allowed are {allowed}, a letter first, at most {LONGEST} characters"
        _refuse(name, what, reason, command, joint)


def _refuse(name: str, what: str, reason: str, command: str, joint: str = "-") -> None:
    """Raise, with the nearest name that is allowed."""
    plain = re.sub(r"[^a-z0-9]+", joint, name.lower().removeprefix(PREFIX))
    near = plain.lstrip("-_0123456789")[:LONGEST].rstrip("-_")
    fix = f"{command} {near}" if near else "choose another name"
    raise MmkitError(f"{name!r} cannot be the name of a {what}: {reason}\n    fix: {fix}")
