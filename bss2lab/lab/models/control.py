"""One thing that can be set: range, unit, meaning and source, from the configuration field that declares it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, Self

from bss2lab.config import Config
from bss2lab.errors import InputError, complain

Look = Literal["slider", "log", "whole", "choice", "switch"]
"""A slider, a logarithmic one, one for whole numbers; a choice of words; on or off."""


@dataclass(frozen=True, slots=True)
class Control:
    """A setting as the person at the slider sees it.

    Attributes:
        name: the setting.
        label: a few words for it.
        value: where it begins.
        look: how it is set.
        low, high: ends of the slider. A number box beside it takes what ``least`` and ``most`` allow.
        step: of the slider (on a logarithmic one, in decades).
        least, most: what the setting may be at all ...
        above, below: ... and whether these themselves are excluded.
        unit, help, source: from its declaration.
        choices: (word, value) pairs of a choice.
        live: does it act while training goes on?
        zero: a logarithmic slider's lower end stands for 0.
        group: heading under which it stands.
    """

    name: str
    label: str
    value: Any
    look: Look = "slider"
    low: float = 0.0
    high: float = 1.0
    step: float = 0.01
    least: float = -math.inf
    most: float = math.inf
    unit: str = ""
    help: str = ""
    source: str = ""
    choices: tuple[tuple[str, Any], ...] = ()
    live: bool = False
    zero: bool = False
    group: str = ""
    above: bool = False
    below: bool = False

    @classmethod
    def of(
        cls, config: type[Config], name: str, *, value: Any = None, label: str = "", look: Look = "slider",
        low: float = 0.0, high: float = 1.0, step: float = 0.01, live: bool = False, zero: bool = False,
        choices: tuple[tuple[str, Any], ...] = (), group: str = "",
    ) -> Self:  # fmt: skip
        """Make a control for a configuration field; unit, help, source and bounds are the field's own.

        Args:
            config: the class that declares it.
            name: the field.
            value: where it begins; the field's default if not given.
            label, look, low, high, step, live, zero, choices, group: see the attributes.
        """
        field = config.model_fields[name]
        declared = config.provenance().get(name, {})
        bounds = {
            key: getattr(rule, key) for rule in field.metadata for key in ("ge", "gt", "le", "lt") if hasattr(rule, key)
        }
        least, most = (
            bounds.get(a, bounds.get(b, end)) for a, b, end in (("ge", "gt", -math.inf), ("le", "lt", math.inf))
        )
        return cls(
            name, label or name, field.default if value is None else value, look, low, high, step, least, most,
            declared.get("unit", ""), declared.get("help", ""), declared.get("source", ""), choices, live, zero, group,
            above="gt" in bounds, below="lt" in bounds,
        )  # fmt: skip

    def check(self, value: Any) -> Any:
        """Return the value as the setting holds it.

        Raises:
            InputError: if it is none of the choices, no number, or out of range.
        """
        if self.look == "switch":
            if not isinstance(value, bool):
                raise InputError(complain(self.label, expected="on or off", got=repr(value), fix="use the switch"))
            return value
        if self.look == "choice":
            allowed = [held for _, held in self.choices]
            if value not in allowed:
                want = f"one of {', '.join(map(str, allowed))}"
                raise InputError(complain(self.label, expected=want, got=repr(value), fix="choose from the list"))
            return value
        if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
            raise InputError(complain(self.label, expected="a number", got=repr(value), fix="type digits"))
        whole = self.look == "whole"
        low, high = (value > self.least if self.above else value >= self.least), value <= self.most
        if not low or not high or (self.below and value == self.most) or (whole and value != int(value)):
            raise InputError(complain(self.label, expected=self.allowed, got=f"{value:.15g}", fix="move the slider"))
        return int(value) if whole else float(value)

    def shown(self, value: Any) -> str:
        """Return label and value as text, for marks and legends."""
        word = next((text for text, held in self.choices if held == value), None)
        number = f"{value:.3g}" if isinstance(value, float) else str(value)
        return f"{self.label} {word or number}"

    @property
    def allowed(self) -> str:
        """What a number may be, in words."""
        whole = self.look == "whole"
        least, most = f"{self.least:.6g}", f"{self.most:.6g}"
        above, below = self.above, self.below
        if whole:  # both ends are allowed then
            least, most = (f"{end:,.0f}" for end in (self.least + above, self.most - below))
            above = below = False
        ends = [f"{'over' if above else 'at least'} {least}"] if self.least > -math.inf else []
        ends += [f"{'under' if below else 'at most'} {most}"] if self.most < math.inf else []
        if len(ends) == 2 and not above and not below:
            ends = [f"{least} … {most}"]
        words = ["a whole number"] if whole else [] if ends else ["a number"]
        return " ".join([*words, " and ".join(ends), self.unit if ends else ""]).strip()

    @property
    def provenance(self) -> str:
        """Meaning, unit and source in one line, for a tooltip."""
        unit = f", {self.unit}" if self.unit else ""
        source = f" [{self.source}]" if self.source else ""
        when = " Acts while it trains." if self.live else ""
        return f"{self.help}{unit}{source}.{when}" if self.help else when.strip()
