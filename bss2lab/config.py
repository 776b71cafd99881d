"""Frozen, validated configuration: one declaration of range, unit, help and source for every number.

A field declared with :func:`quantity` is the only place where its default, bounds, unit, meaning and
origin stand. Validation messages, the JSON round trip, the command line's options and (later) the sliders
are all read from it.
"""

from __future__ import annotations

import difflib
from enum import StrEnum
from typing import Any, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from bss2lab.errors import InputError


class Source(StrEnum):
    """Where a number comes from. Every constant of the emulator and of the presets carries one of these."""

    PAPER = "paper"
    AUTHORS_CODE = "authors' code"
    MEASURED = "measured elsewhere"
    ASSUMED = "assumed"


def quantity(default: Any, help: str, *, source: Source, unit: str = "", why: str = "", **bounds: Any) -> Any:
    """Declare a configuration field.

    Args:
        default: default value.
        help: one sentence for the command line's help and the slider's tooltip.
        source: provenance mark.
        unit: unit of the value, empty if dimensionless.
        why: the reason, where ``source`` is ``assumed``.
        **bounds: pydantic's ``ge``, ``gt``, ``le``, ``lt``.

    Returns:
        A pydantic field.

    Raises:
        ValueError: if an assumed number comes without its reason.
    """
    if source is Source.ASSUMED and not why:
        raise ValueError(f"quantity({help!r}): an assumed number needs its reason: pass why=")
    extra: dict[str, Any] = {"unit": unit, "source": source.value, "why": why}
    return Field(default, description=help, json_schema_extra=extra, **bounds)


class Config(BaseModel):
    """Base of all configurations: frozen, no unknown keys, finite numbers, errors in plain words."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False, validate_default=True)

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise InputError(_explain(type(self), error)) from None

    def replace(self, **changes: Any) -> Self:
        """Return a validated copy with some fields changed."""
        return type(self)(**{**self.model_dump(), **changes})

    def identity(self) -> dict[str, Any]:
        """Return all that a result depends on, ready for JSON: part of the key under which it is kept."""
        return self.model_dump(mode="json")

    def changes(self) -> dict[str, Any]:
        """Return the fields that differ from their defaults."""
        fields = type(self).model_fields
        return {name: value for name, value in self if value != fields[name].get_default(call_default_factory=True)}

    @classmethod
    def provenance(cls) -> dict[str, dict[str, str]]:
        """Return ``{field: {"unit", "source", "why", "help"}}`` for every declared quantity."""
        table = {}
        for name, field in cls.model_fields.items():
            extra = field.json_schema_extra
            if isinstance(extra, dict) and "source" in extra:
                row = {key: str(extra[key]) for key in ("unit", "source", "why")}
                table[name] = {**row, "help": field.description or ""}
        return table


def redeclared(base: type[Config], name: str, default: Any, *, source: Source, why: str = "", help: str = "") -> Any:
    """Declare a field of a base class again, with another default: range, unit and meaning stay.

    Args:
        base: the class that declares it.
        name: the field.
        default: default value.
        source, why: where the new default comes from.
        help: another sentence, if the meaning is narrower here.
    """
    field = base.model_fields[name]
    extra = field.json_schema_extra
    assert isinstance(extra, dict)
    keys = ("ge", "gt", "le", "lt")
    bounds = {key: getattr(rule, key) for rule in field.metadata for key in keys if hasattr(rule, key)}
    meaning = help or field.description or ""
    return quantity(default, meaning, source=source, unit=str(extra["unit"]), why=why, **bounds)


def _explain(config: type[Config], error: ValidationError) -> str:
    lines = []
    for problem in error.errors():
        name = ".".join(str(part) for part in problem["loc"]) or config.__name__
        if problem["type"] == "extra_forbidden":
            near = difflib.get_close_matches(name, list(config.model_fields), n=1)
            fix = f"did you mean {near[0]!r}?" if near else f"known keys: {', '.join(config.model_fields)}"
            lines.append(f"{name}: expected a known key of {config.__name__}, got {name!r}; {fix}")
            continue
        if not problem["loc"]:  # a rule between fields says it all in its own words
            lines.append(problem["msg"].removeprefix("Value error, "))
            continue
        field = config.model_fields.get(name)
        extra = field.json_schema_extra if field is not None else None
        unit = f" {extra['unit']}" if isinstance(extra, dict) and extra.get("unit") else ""
        want = problem["msg"].removeprefix("Input should be ").removeprefix("Value error, ")
        meaning = f" ({field.description})" if field is not None and field.description else ""
        lines.append(f"{name}: expected {want}{unit}, got {problem['input']!r}; change {name}{meaning}")
    return "\n".join(lines)
