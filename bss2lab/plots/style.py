"""The look of the figures: colours that colour-blind readers can tell apart, and the *emulated* badge."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from PIL import Image

# Okabe & Ito's palette (black last), and what each colour stands for.
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#8C510A", "#5E3C99", "#999999", "#000000")
TRAIN, TEST, REFERENCE, HIDDEN, INPUT = PALETTE[0], PALETTE[1], "#666666", PALETTE[0], "#000000"

_RC: Any = {
    "font.size": 9,
    "axes.labelsize": 9,
    "axes.titlesize": 9,
    "legend.fontsize": 8,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "legend.frameon": False,
    "figure.dpi": 110,
    "savefig.dpi": 200,
    "savefig.bbox": "tight",
    "figure.constrained_layout.use": True,
}


class PaperFigure(Figure):
    """A Matplotlib figure that shows itself in a notebook and saves in the package's way, without pyplot."""

    def png(self, dpi: int = 200) -> bytes:
        """Return the figure as PNG."""
        picture = io.BytesIO()
        with paper():
            self.savefig(picture, format="png", dpi=dpi, bbox_inches="tight")
        return picture.getvalue()

    def small_png(self, dpi: int = 110) -> bytes:
        """Return the figure as PNG of at most 256 colours: a third of the size, and the same to the eye."""
        whole, small = Image.open(io.BytesIO(self.png(dpi))), io.BytesIO()
        few = whole.convert("RGB").quantize(256, method=Image.Quantize.MAXCOVERAGE, kmeans=1, dither=Image.Dither.NONE)
        few.save(small, "PNG", optimize=True)
        return small.getvalue()

    def _repr_png_(self) -> bytes:
        return self.small_png()


@contextmanager
def paper() -> Iterator[None]:
    """Draw within the package's style, and leave the user's own untouched."""
    with mpl.rc_context(_RC):
        yield


def badge(figure: Figure, *, emulated: bool, software: bool = False, data: str = "") -> None:
    """Say on the figure itself where its data come from: the emulated chip, software, or some from each.

    Args:
        figure: the figure.
        emulated: some come from the emulated chip.
        software: some come from software as well.
        data: what it was run on, where that is not what the paper used.
    """
    text = ("emulated chip and software" if software else "emulated chip") if emulated else "software model"
    text += f" · {data}" * bool(data)
    figure.text(
        1.0, 1.01, text, ha="right", va="bottom", fontsize=7, color="white",
        bbox={"boxstyle": "round,pad=0.3", "facecolor": REFERENCE, "edgecolor": "none"},
    )  # fmt: skip


def panel_letter(axes: Axes, letter: str) -> None:
    """Put the panel's letter above its upper left corner."""
    axes.annotate(
        letter, (0, 1), xytext=(-28, 8), xycoords="axes fraction", textcoords="offset points",
        fontweight="bold", fontsize=12, va="bottom",
    )  # fmt: skip
