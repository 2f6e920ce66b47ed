"""The record and the config: what is read before anything heavy is imported."""

import subprocess
import sys
import textwrap

from pydantic import ValidationError

from mmkit.registry.component import Component
from mmkit.testing.check import ALL, NotApplicable, check, require
from mmkit.testing.subject import Subject
from mmkit.wiring.graph import import_path


@check("bronze", ALL, "say in `summary` what it does, in one line of at most 120 characters that ends with a full stop")
def summary_is_one_line(subject: Subject) -> None:
    """The record has a summary of one line."""
    text = subject.component.summary
    require(bool(text.strip()), "the summary is empty")
    require("\n" not in text and len(text) <= 120, f"the summary is no short line: {text!r}")


@check("silver", ALL, "name the licence of the code by its SPDX identifier, for example Apache-2.0")
def licence_is_named(subject: Subject) -> None:
    """The record names a licence by its SPDX identifier."""
    text = subject.component.licence
    require(bool(text) and " " not in text.replace(" OR ", "").replace(" AND ", "").replace(" WITH ", ""), repr(text))


@check("bronze", ALL, "move the import of torch out of the modules of the entry point and of the config")
def found_without_torch(subject: Subject) -> None:
    """Neither the plugin's entry point nor the component's config imports torch."""
    component = subject.component
    code = f"""
        import sys
        from importlib import import_module, metadata
        import mmkit
        for entry in metadata.entry_points(group="mmkit", name={component.plugin!r}):
            entry.load()
        import_module({component.config.partition(":")[0]!r})
        print(",".join(name for name in ("torch", "transformers", "tensorflow", "jax") if name in sys.modules))
    """
    ran = subprocess.run([sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, check=False)
    require(ran.returncode == 0, f"importing them alone fails: {ran.stderr.strip().splitlines()[-1:]}")
    require(not ran.stdout.strip(), f"they import {ran.stdout.strip()}")


@check("bronze", ALL, "derive it from mmkit.Config, and keep validators that change values idempotent")
def config_round_trips(subject: Subject) -> None:
    """The config written as JSON and read again is the same."""
    config = subject.config
    again = type(config).model_validate_json(config.model_dump_json(), context={"root": subject.folder})
    require(again == config, f"{config!r} became {again!r}")


@check("bronze", ALL, "derive it from mmkit.Config, or set extra='forbid'")
def config_refuses_unknown_keys(subject: Subject) -> None:
    """An option that the config does not know is refused."""
    try:
        type(subject.config).model_validate({**subject.given, "no_such_option": 1}, context={"root": subject.folder})
    except ValidationError as error:
        found = [problem for problem in error.errors() if problem["type"] == "extra_forbidden"]
        require(bool(found), f"it is refused for another reason: {error}")
        return
    require(False, "the option no_such_option was accepted in silence")


@check("silver", ALL, "derive it from mmkit.Config, or set frozen=True")
def config_is_frozen(subject: Subject) -> None:
    """A config cannot be changed once it is made."""
    config = subject.config
    fields = list(type(config).model_fields)
    if not fields:
        raise NotApplicable("the config has no options")
    try:
        setattr(config, fields[0], getattr(config, fields[0]))
    except ValidationError:
        return
    require(False, f"{fields[0]} could be set")


@check("silver", ALL, "give every field a Field(description=…)")
def options_are_documented(subject: Subject) -> None:
    """Every option has a description."""
    fields = type(subject.config).model_fields
    bare = [name for name, field in fields.items() if not (field.description or "").strip()]
    require(not bare, f"without description: {', '.join(bare)}")


@check("silver", ALL, "write a docstring for the builder's class: shapes, units, and the source of the algorithm")
def code_is_documented(subject: Subject) -> None:
    """The class that the builder gives, and its config, have docstrings of their own."""
    bare = [
        kind.__name__
        for kind in (type(subject.built), type(subject.config))
        if not (vars(kind).get("__doc__") or "").strip()
    ]
    require(not bare, f"without docstring: {', '.join(bare)}")


@check("bronze", ALL, "return an object of the kind's interface, and give the record the same properties")
def builds_what_it_declares(subject: Subject) -> None:
    """The builder gives an object of the kind's interface, as the record declares it."""
    component, built = subject.component, subject.built
    wanted = subject.interface
    require(isinstance(built, wanted), f"the builder gave a {type(built).__name__}, wanted a {wanted.__name__}")
    for name, given in (("autoregressive", "autoregressive"), ("reads", "reads_count")):
        if component.kind == "head":
            said, has = getattr(component, name), getattr(built, given)
            require(said == has, f"the record says {name}={said}, the object {given}={has}")
    if component.kind == "encoder":
        require(bool(component.modality), "the record of an encoder names its modality")


@check("silver", ALL, "let the builder take the config's fields as keyword arguments, under the same names")
def builder_takes_the_options(subject: Subject) -> None:
    """The builder names every option of the config, and no others."""
    import inspect

    component: Component = subject.component
    names = list(inspect.signature(import_path(component.builder)).parameters)[1:]
    options = list(type(subject.config).model_fields)
    require(
        sorted(names) == sorted(options),
        f"the builder takes {', '.join(names) or 'nothing'}; the config has {', '.join(options) or 'nothing'}",
    )
