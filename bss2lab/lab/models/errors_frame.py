"""The picture of a network's errors: tables, bars, and one sample with what the network made of it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from bss2lab.lab.frame import GREY, PALETTE, Axis, Frame, Heat, Layer, Mark, Panel, Series, span
from bss2lab.lab.models.judged import Judged
from bss2lab.settings import SpeechConfig

if TYPE_CHECKING:
    from numpy import ndarray

    from bss2lab.lab.models.errors import Errors, Look

SEEN, UNSEEN = PALETTE[5], PALETTE[1]
COLUMNS, TILE = 8, 17
"""Images side by side, and pixels from one to the next (16 and a gap)."""

_BELOW = 0.57
_LEFT, _RIGHT = (0.0, 0.0, 0.5, _BELOW), (0.5, 0.0, 1.0, _BELOW)
_THIRDS = (0.0, _BELOW, 0.34, 1.0), (0.34, _BELOW, 0.67, 1.0), (0.67, _BELOW, 1.0, 1.0)
_FEW = 12  # classes whose names fit below a table
_LEADERS = 4  # outputs with a colour of their own


def frame(model: Errors) -> Frame:
    """Return the picture as it is now."""
    with model.lock:
        judged, look, tiles, chosen = model.judged, model.look, model.tiles, model.chosen
    speech = isinstance(model.config, SpeechConfig)
    panels = [_confusion(model.classes, judged, speech)]
    if speech:
        panels += [_speaker_words(model.classes, judged), _speakers(judged)]
    else:
        panels += [_tiles(tiles, model.place if len(chosen) else None, len(chosen)), _classes(model.classes, judged)]
    panels += _sample(model, look)
    return Frame(panels, _alt(judged, look), badge=_badge(model, judged), height=860)


# --- tables -------------------------------------------------------------------------------------------------------


def _confusion(classes: tuple[str, ...], judged: Judged | None, speech: bool) -> Panel:
    row, column, title = ("said", "heard", "What is heard as what") if speech else ("class", "decided", "Confusions")
    outputs = judged.names if judged is not None else classes
    y = Axis(row, -0.5, len(classes) - 0.5, names=_long(classes), down=True)
    x = Axis(column, -0.5, len(outputs) - 0.5, names=_short(outputs))
    if judged is None:
        return Panel("confusion", title, x, y, (), _LEFT, empty="press “evaluate”")
    few = judged.n_outputs <= _FEW
    darkest = 10.0 if few else 40.0  # rare confusions must be seen too
    heat = Heat("share", np.nan_to_num(judged.confusion()), 0.0, darkest, written=few, unit="%")
    note = f"%, darkest: ≥ {darkest:.0f}"
    return Panel("confusion", title, x, y, (heat,), _LEFT, note=note, clicks=True)


def _speaker_words(classes: tuple[str, ...], judged: Judged | None) -> Panel:
    title = "Errors by speaker and word"
    x = Axis("said", -0.5, len(classes) - 0.5, names=_short(classes))
    if judged is None or not judged.n_speakers:
        y = Axis("speaker", -0.5, 11.5, integer=True, down=True)
        empty = "" if judged is None else "nobody knows who spoke"
        return Panel("speaker-words", title, x, y, (), _RIGHT, empty=empty)
    table = judged.by_speaker_and_class()
    names = tuple(f"{k} unseen" if k in judged.unseen else str(k) for k in range(len(table)))
    y = Axis("speaker", -0.5, len(table) - 0.5, names=names, down=True)
    heat = Heat("wrong", table, -100.0, 100.0, palette="signed", written=True, unit="%")
    return Panel("speaker-words", title, x, y, (heat,), _RIGHT, note="% wrong", clicks=True)


def _short(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names that fit side by side below a table: the first letters of a few; of many, their numbers (see ``_long``)."""
    if len(names) > _FEW:
        return tuple(map(str, range(len(names))))
    return tuple(name[: max(3, 66 // max(1, len(names)))] for name in names)


def _long(names: tuple[str, ...]) -> tuple[str, ...]:
    """Names for the rows of a table; if columns go by number, with these numbers."""
    return tuple(f"{name} {k}" for k, name in enumerate(names)) if len(names) > _FEW else names


# --- bars ---------------------------------------------------------------------------------------------------------


def _speakers(judged: Judged | None) -> Panel:
    error = judged.by_speaker() if judged is not None else np.empty(0)
    x, box = Axis("speaker", -0.7, max(12, len(error)) - 0.3, integer=True), _THIRDS[0]
    if judged is None or not len(error):
        return Panel("speakers", "Error by speaker", x, Axis("wrong", 0.0, 100.0, unit="%"), (), box)
    who = np.arange(len(error))
    new = np.isin(who, judged.unseen)
    layers: list[Layer] = [
        Series(name, who, np.where(which, error, np.nan), style="bars", colour=colour)
        for name, which, colour in (("heard in training", ~new, SEEN), ("never heard", new, UNSEEN))
        if (which & np.isfinite(error)).any()
    ]
    layers.append(Mark(judged.error))
    y = Axis("wrong", 0.0, _top(error, judged.error), unit="%")
    note = f"all: {judged.error:.1f} %"
    return Panel("speakers", "Error by speaker", x, y, layers, box, note=note, clicks=True)


def _classes(names: tuple[str, ...], judged: Judged | None) -> Panel:
    x, box = Axis("class", -0.7, len(names) - 0.3, names=tuple(name[:3] for name in names)), _THIRDS[0]
    if judged is None:
        return Panel("classes", "Error by class", x, Axis("wrong", 0.0, 100.0, unit="%"), (), box)
    error = judged.by_class()
    bars = Series("", np.arange(len(error)), error, style="bars", colour=SEEN)
    note = f"all: {judged.error:.2f} %"
    y = Axis("wrong", 0.0, _top(error, judged.error), unit="%")
    return Panel("classes", "Error by class", x, y, (bars, Mark(judged.error)), box, note=note, clicks=True)


def _top(error: ndarray, overall: float) -> float:
    return min(100.0, max(1.0, 1.12 * float(np.nanmax(error, initial=0.0)), 1.3 * overall))


# --- images -------------------------------------------------------------------------------------------------------


def tile_at(x: float, y: float, n: int) -> int | None:
    """Return which of ``n`` images lies at these coordinates of the panel of images, if any."""
    column, row = int((x + 0.5) // TILE), int((y + 0.5) // TILE)
    place = row * COLUMNS + column
    return place if 0 <= column < COLUMNS and 0 <= place < n else None


def _tiles(tiles: ndarray, place: int | None, n: int) -> Panel:
    rows = max(3, -(-len(tiles) // COLUMNS))
    table = np.full((rows * TILE, COLUMNS * TILE), np.nan)
    for k, tile in enumerate(tiles):
        top, left = k // COLUMNS * TILE, k % COLUMNS * TILE
        table[top : top + TILE - 1, left : left + TILE - 1] = tile
    x = Axis("", -0.5, COLUMNS * TILE - 0.5, names=(" ",))
    y = Axis("", -0.5, rows * TILE - 0.5, names=(" ",), down=True)
    layers: list[Layer] = [Heat("grey value", table, 0.0, 255.0, palette="greys")] if len(tiles) else []
    if place is not None and place < len(tiles):
        left, top = place % COLUMNS * TILE - 0.7, place // COLUMNS * TILE - 0.7
        right, bottom = left + TILE - 0.6, top + TILE - 0.6
        frame_x, frame_y = [left, right, right, left, left], [top, top, bottom, bottom, top]
        layers.append(Series("", np.array(frame_x), np.array(frame_y), colour=UNSEEN, width=2.5))
    note = f"{min(len(tiles), n)} of {n}" if n else ""
    return Panel("tiles", "Samples listed", x, y, layers, _RIGHT, note=note, empty="none", clicks=True)


# --- one sample ---------------------------------------------------------------------------------------------------


def _sample(model: Errors, look: Look | None) -> list[Panel]:
    config = model.config
    time = Axis("time", 0.0, config.duration_us, unit="µs")
    unit = Axis("input | hidden neuron", -2.0, float(config.n_inputs + config.n_hidden) + 2.0, integer=True)
    if look is None or model.judged is None:
        empty = "no such sample" if model.judged is not None else ""
        nothing = Panel("raster", "Spikes", time, unit, (), _THIRDS[1], empty=empty)
        return [nothing, Panel("votes", "Votes", time, Axis("vote", 0.0, 1.0), (), _THIRDS[2])]
    entry, seen, n_in = look.entry, look.seen, config.n_inputs
    t_in, u_in = seen.input_spikes.sample(look.at)
    t_hid, u_hid = seen.hidden_spikes.sample(look.at)
    layers = [
        Series("input", t_in, u_in, style="dots", colour="#000000", width=1.6, thing="unit"),
        Series("hidden", t_hid, u_hid.astype(np.int64) + n_in, style="dots", colour=PALETTE[0], width=1.8,
               thing="neuron", origin=n_in),
        Mark(n_in - 0.5, dashed=False),
    ]  # fmt: skip
    note = f"speaker {entry.speaker}" if entry.speaker >= 0 else f"{len(t_hid)} hidden"
    raster = Panel("raster", f"No. {entry.index}", time, unit, layers, _THIRDS[1], note=note)
    return [raster, _votes(model, look, time)]


def votes_of(model: Errors, look: Look) -> ndarray:
    """Return how the vote of every output builds up over time, [time, output]; the highest at the end decides.

    Words: the sum of the membrane's samples so far. Images: the highest sample so far.
    """
    readout = look.seen.readout[look.at].astype(np.float64)
    return np.maximum.accumulate(readout) if model.config.vote == "peak" else np.cumsum(readout, axis=0)


def _votes(model: Errors, look: Look, time: Axis) -> Panel:
    assert model.judged is not None
    names, entry, seen = model.judged.names, look.entry, look.seen
    votes = votes_of(model, look)
    last = votes[-1]
    ranked = dict.fromkeys([entry.heard, entry.said, *np.argsort(-last, kind="stable").tolist()])
    leaders = list(ranked)[:_LEADERS]
    grey: list[Layer] = [
        Series("", seen.time_us, votes[:, o], colour="#BBBBBB", width=0.8)
        for o in range(votes.shape[1])
        if o not in leaders
    ]
    coloured: list[Layer] = [
        Series(names[o], seen.time_us, votes[:, o], colour=PALETTE[(1, 2, 0, 3)[k]],
               width=2.6 if o in (entry.heard, entry.said) else 1.4)
        for k, o in enumerate(leaders)
    ]  # fmt: skip
    low, high = span(votes, pad=0.06, least=0.05)
    right = entry.said == entry.heard
    title = f"{names[entry.said]} → {names[entry.heard]}" + ("" if right else "  (wrong)")
    label = "highest membrane so far" if model.config.vote == "peak" else "sum of the membrane so far"
    zero = Mark(0.0, colour=GREY, dashed=False)
    return Panel("votes", title, time, Axis(label, low, high), [zero, *grey, *coloured], _THIRDS[2])


def _badge(model: Errors, judged: Judged | None) -> str:
    emulated = judged.emulated if judged is not None else model.values["where"] == "chip"
    where = "emulated chip" if emulated else "software model"
    return f"{where} · synthetic speech" if getattr(model.config, "task", "") == "speech" else where


def _alt(judged: Judged | None, look: Look | None) -> str:
    if judged is None:
        return "Errors of a trained network: nothing classified yet."
    names = judged.names
    text = f"Errors of a trained network on {len(judged)} samples, {judged.where}: {judged.error:.1f} percent wrong."
    if look is not None:
        text += f" Shown: number {look.entry.index}, {names[look.entry.said]}, taken for {names[look.entry.heard]}."
    return text
