"""Command-line options made from a configuration's own fields."""

from __future__ import annotations

import argparse
import re
import types
from typing import Any, Literal, Union, get_args, get_origin

from bss2lab.config import Config
from bss2lab.errors import InputError


def add_options(group: argparse._ArgumentGroup, config: type[Config], skip: set[str]) -> None:
    """Add one option per field: name, type, choices, help, unit, range, default and source all come from it."""
    for name, field in config.model_fields.items():
        if name in skip:
            continue
        choices = get_args(field.annotation) if get_origin(field.annotation) is Literal else None
        group.add_argument(
            f"--{name.replace('_', '-')}", dest=name, default=argparse.SUPPRESS, choices=choices,
            metavar=None if choices else name.split("_")[0].upper()[:5],
            type=str if choices else _plain_type(field.annotation), help=describe(config, name),
        )  # fmt: skip


def describe(config: type[Config], name: str) -> str:
    """Return a field's help line: what it is, range, unit, default, source."""
    field = config.model_fields[name]
    extra = field.json_schema_extra if isinstance(field.json_schema_extra, dict) else {}
    bounds = "".join(
        f" {sign} {getattr(rule, key):g}"
        for rule in field.metadata
        for key, sign in (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
        if hasattr(rule, key)
    )
    unit = f" {extra['unit']}" if extra.get("unit") else ""
    notes = [f"default {field.default}{unit}"] + ([f"range{bounds}"] if bounds else [])
    notes += [str(extra["source"])] if extra.get("source") else []
    return f"{field.description} ({'; '.join(notes)})".replace("%", "%%")


def chosen(arguments: argparse.Namespace, config: type[Config]) -> dict[str, Any]:
    """Return the fields that were given on the command line."""
    return {name: getattr(arguments, name) for name in config.model_fields if hasattr(arguments, name)}


def build(base: Config, changes: dict[str, Any]) -> Any:
    """Change a configuration; errors name the option instead of the field.

    Raises:
        InputError: if a value is out of range.
    """
    try:
        return base.replace(**changes)
    except InputError as error:
        names = "|".join(re.escape(name) for name in changes)
        text = re.sub(f"^({names}): ", lambda name: f"--{name[1].replace('_', '-')}: ", str(error), flags=re.MULTILINE)
        raise InputError(text) from None


def _plain_type(annotation: Any) -> Any:
    if get_origin(annotation) in (Union, types.UnionType):
        return next(_plain_type(part) for part in get_args(annotation) if part is not type(None))
    return annotation if annotation in (int, float) else str
