"""Draw figure 5, C and D, from its frozen result: what is misheard, and whose words."""

from __future__ import annotations

import numpy as np
from matplotlib.patches import Patch

from bss2lab.plots import style
from bss2lab.plots.fig5 import badge_of
from bss2lab.studies.fig5 import Speech

_SEEN, _UNSEEN = style.PALETTE[5], style.PALETTE[1]
_LEGIBLE = 0.55  # of the colour map: numbers on darker cells are white


def draw_confusion(result: Speech, name: str | None = None) -> style.PaperFigure:
    """Figure 5C: which word is taken for which, and the error of every word; all seeds together.

    Args:
        result: figure 5.
        name: the row; the first one with augmentation if not given.

    Returns:
        A new figure: the confusion matrix of the test set in percent of each word, and errors beside it.
    """
    one = result.row(name)
    counts = np.array(one.confusion, dtype=float)
    share = 100 * counts / np.maximum(1, counts.sum(axis=1, keepdims=True))
    n = len(result.classes)
    with style.paper():
        figure = style.PaperFigure(figsize=(8.8, 6.2))
        matrix, bars = figure.subplots(1, 2, width_ratios=(5.5, 1.3))
        picture = matrix.imshow(share, cmap="Blues", vmin=0, vmax=100, aspect="auto")
        for i, j in zip(*np.nonzero(share.round() >= 1), strict=True):
            colour = "white" if share[i, j] > 100 * _LEGIBLE else "black"
            matrix.annotate(f"{share[i, j]:.0f}", (j, i), ha="center", va="center", fontsize=6, color=colour)
        decided = [result.classes[j] if j < n else str(j) for j in range(share.shape[1])]
        matrix.set_xticks(range(share.shape[1]), decided, rotation=90)
        matrix.set_yticks(range(n), result.classes)
        matrix.set(xlabel="decision", ylabel="spoken word")
        for edge in _language_edges(n):
            matrix.axhline(edge, color=style.REFERENCE, linewidth=0.8)
            matrix.axvline(edge, color=style.REFERENCE, linewidth=0.8)
        error = 100 - share[np.arange(n), np.arange(n)]
        bars.barh(range(n), error, color=style.PALETTE[0], height=0.7)
        overall = 100 * (1 - np.trace(counts) / max(1.0, counts.sum()))
        bars.axvline(overall, color=style.REFERENCE, linestyle="--", linewidth=1)
        bars.set_title(f"all: {overall:.1f} %", loc="left", color=style.REFERENCE)
        bars.set(ylim=(n - 0.5, -0.5), yticks=[], xlabel="error (%)", xlim=(0, None))
        figure.colorbar(picture, ax=matrix, location="top", shrink=0.5, aspect=40, label="of each word, %")
        style.panel_letter(matrix, "C")
        badge_of(figure, result, one)
    return figure


def draw_speakers(result: Speech, name: str | None = None) -> style.PaperFigure:
    """Figure 5D: error for every speaker, training and test; who is in the test set alone is highlighted.

    Args:
        result: figure 5.
        name: the row; the first one with augmentation if not given.

    Returns:
        A new figure: bars are means over the seeds, whiskers standard deviations, dashed lines overall errors.
    """
    one = result.row(name)
    name, n = one.row.name, len(result.train_words)
    with style.paper():
        figure = style.PaperFigure(figsize=(8.4, 3.4))
        panels = figure.subplots(1, 2, sharey=True)
        for axes, split in zip(panels, ("train", "test"), strict=True):
            errors = result.speaker_errors(name, split)
            here = ~np.isnan(errors).any(axis=0)
            mean = errors[:, here].mean(axis=0)
            spread = errors[:, here].std(axis=0, ddof=1) if len(errors) > 1 else np.zeros(here.sum())
            speakers = np.flatnonzero(here)
            colours = [_UNSEEN if speaker in result.unseen else _SEEN for speaker in speakers]
            axes.bar(speakers, mean, yerr=spread if len(errors) > 1 else None, color=colours, width=0.75, capsize=2,
                     error_kw={"linewidth": 0.9})  # fmt: skip
            overall = 100 - result.accuracy(name, split).mean
            axes.axhline(overall, color="black", linestyle="--", linewidth=1)
            words = sum(result.train_words) if split == "train" else int(np.sum(result.test_words))
            title = "training words" if split == "train" else "test words"
            axes.set(xticks=range(n), xlim=(-0.6, n - 0.4), xlabel="speaker")
            axes.set_title(f"{title} ({words:,}), all: {overall:.1f} %", loc="left")
        panels[0].set(ylabel="error (%)", ylim=(0, None))
        handles = [Patch(color=_SEEN, label="in the training set"), Patch(color=_UNSEEN, label="in the test set alone")]
        figure.legend(handles=handles, loc="outside lower center", ncols=2)
        style.panel_letter(panels[0], "D")
        badge_of(figure, result, one)
    return figure


def draw_speaker_words(result: Speech, name: str | None = None) -> style.PaperFigure:
    """Beyond the paper: error for every speaker and word of the test set; all seeds together.

    Args:
        result: figure 5.
        name: the row; the first one with augmentation if not given.

    Returns:
        A new figure. Cells without a word are hatched.
    """
    one = result.row(name)
    words = np.array(result.test_words, dtype=float) * len(one.test_wrong)
    with np.errstate(invalid="ignore", divide="ignore"):
        error = np.where(words > 0, 100 * np.array(one.wrong) / words, np.nan)
    who = np.flatnonzero(words.sum(axis=1) > 0)
    with style.paper():
        figure = style.PaperFigure(figsize=(8.6, 0.32 * len(who) + 1.9))
        axes = figure.subplots()
        axes.set_facecolor("0.93")
        axes.patch.set_hatch("///")
        axes.patch.set_edgecolor("0.8")
        picture = axes.imshow(error[who], cmap="Oranges", vmin=0, vmax=100, aspect="auto")
        for i, speaker in enumerate(who):
            for j in np.flatnonzero(error[speaker].round() >= 1):
                colour = "white" if error[speaker, j] > 100 * _LEGIBLE else "black"
                axes.annotate(f"{error[speaker, j]:.0f}", (j, i), ha="center", va="center", fontsize=7, color=colour)
        labels = [f"{speaker}{' (unseen)' if speaker in result.unseen else ''}" for speaker in who]
        axes.set_yticks(range(len(who)), labels)
        axes.set_xticks(range(len(result.classes)), result.classes, rotation=90)
        for edge in _language_edges(len(result.classes)):
            axes.axvline(edge, color=style.REFERENCE, linewidth=0.8)
        axes.set(ylabel="speaker", xlabel="spoken word")
        figure.colorbar(picture, ax=axes, label="error (%)", pad=0.01)
        badge_of(figure, result, one)
    return figure


def _language_edges(n: int) -> list[float]:
    """Where one language ends: ten words each, as in the Heidelberg Digits."""
    return [edge - 0.5 for edge in range(10, n, 10)]
