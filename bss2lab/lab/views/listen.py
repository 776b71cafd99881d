"""Beside a network's errors: the list of the samples that fit, and a player for the word on show."""

from __future__ import annotations

import html

import ipywidgets as w

from bss2lab.lab.models.errors import Errors
from bss2lab.lab.models.sounds import Audible, wav
from bss2lab.lab.views.renderer import RENDERER, Renderer

ROWS = 9
"""Lines of the list that are shown at a time."""


class Listening(w.VBox):
    """List and player; both follow the model.

    Args:
        model: has the list.
        renderer: says when to look at it.
    """

    def __init__(self, model: Errors, *, renderer: Renderer = RENDERER) -> None:
        self.model, self._renderer = model, renderer
        self.table = w.HTML()
        unseen = w.Layout(display="none", width="99%")
        self.player = w.Audio(value=b"", format="wav", autoplay=False, loop=False, layout=unseen)
        self.what = w.HTML()
        self._played: Audible | None = None
        super().__init__([self.table, self.player, self.what], layout=w.Layout(width="100%"))
        self._forget = model.watch(lambda urgent: renderer.announce(self, urgent=urgent))
        renderer.add(self)
        self.draw()

    def ready(self) -> bool:
        """See ``Drawable``."""
        return True

    def took_s(self) -> float:
        """See ``Drawable``: a table and a sound take next to nothing."""
        return 0.0

    def draw(self) -> None:
        """See ``Drawable``."""
        self.table.value = table_of(self.model)
        look = self.model.look
        heard = look.audible if look is not None else None
        if heard is self._played:
            return
        self._played = heard
        self.player.layout.display = "none" if heard is None else ""
        self.player.value = b"" if heard is None else wav(heard.sound)
        self.what.value = "" if heard is None else f'<div style="font-size:12px">{html.escape(heard.what)}</div>'

    def interrupt(self) -> None:
        """See ``Drawable``."""

    def close(self) -> None:
        """Take it off the page."""
        if self.comm is None:
            return
        self._forget()
        self._renderer.remove(self)
        super().close()


def table_of(model: Errors) -> str:
    """Return the list as HTML: some lines around the sample on show, which is set off."""
    judged, chosen, place = model.judged, model.chosen, model.place
    if judged is None or not len(chosen):
        return ""
    first = max(0, min(place - ROWS // 2, len(chosen) - ROWS))
    speech = bool(judged.n_speakers)
    heads = ("no.", "said", "heard", "speaker") if speech else ("no.", "class", "decided")
    lines = []
    for k in range(first, min(first + ROWS, len(chosen))):
        entry = judged.entry(int(chosen[k]))
        new = " (unseen)" if entry.speaker in judged.unseen else ""
        cells = [str(entry.index), judged.names[entry.said], judged.names[entry.heard]]
        cells += [f"{entry.speaker}{new}"] if speech else []
        row = "".join(f'<td style="padding:0 10px 0 0">{html.escape(cell)}</td>' for cell in cells)
        lines.append(f'<tr style="{"font-weight:700;background:#e8f1f8" if k == place else ""}">{row}</tr>')
    head = "".join(f'<th style="text-align:left;padding:0 10px 0 0">{one}</th>' for one in heads)
    title = f"{place + 1} of {len(chosen):,} listed"
    return (
        f'<div style="font-size:12px;line-height:1.4">{title}<table style="border-collapse:collapse">'
        f"<tr>{head}</tr>{''.join(lines)}</table></div>"
    )
