"""Where sound comes from: a file, or the browser's microphone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import anywidget
import ipywidgets as w
import numpy as np

from bss2lab.datasets.sound import LONGEST_S
from bss2lab.lab.models.base import plainly
from bss2lab.lab.models.speak import Speak
from bss2lab.lab.views.early import module
from bss2lab.lab.views.renderer import RENDERER, Renderer
from bss2lab.lab.views.widget import LabWidget


class Microphone(anywidget.AnyWidget):
    """A button that records from the browser's microphone; it says so itself if there is none or it may not.

    Args:
        on_sound: called with the samples (float32, full scale ±1, one channel) and their rate in Hz.
    """

    _esm = module("microphone.js")

    def __init__(self, on_sound: Callable[[np.ndarray, float], None]) -> None:
        super().__init__()
        self._on_sound = on_sound
        self.on_msg(self._heard)

    def _heard(self, _: Any, content: Any, buffers: Any) -> None:
        match content:
            case {"type": "sound", "rate": int() | float() as rate} if buffers:
                content = bytes(buffers[0])
                self._on_sound(np.frombuffer(content[: len(content) // 4 * 4], "<f4").copy(), float(rate))
            case {"type": "hello"}:
                self.send({"type": "longest", "seconds": LONGEST_S - 0.2})


class SoundFile(w.FileUpload):
    """A button that takes a sound file.

    Args:
        on_file: called with its name and its content.
        on_error: called with what went wrong, in words.
    """

    def __init__(self, on_file: Callable[[str, bytes], object], on_error: Callable[[str], None]) -> None:
        super().__init__(accept=".wav,.flac,.ogg,audio/*", multiple=False, description="sound file (WAV, FLAC, OGG)")
        self.layout.width = "auto"
        self._on_file, self._on_error = on_file, on_error
        self.observe(self._chosen, "value")

    def _chosen(self, change: Any) -> None:
        try:
            for one in change["new"]:
                self._on_file(str(one["name"]), bytes(one["content"]))
        except Exception as error:
            self._on_error(plainly(error))
        if change["new"]:
            self.value = ()  # the same file may be chosen again


class SpeakWidget(LabWidget):
    """Microphone, sound file, and what the chip hears.

    Args:
        model: what is heard.
        renderer: draws it.
    """

    def __init__(self, model: Speak, *, renderer: Renderer = RENDERER) -> None:
        self.microphone = Microphone(lambda samples, rate: self._do(lambda: model.hear_samples(samples, rate)))
        self.file = SoundFile(model.hear_file, lambda text: model.say(text, "error"))
        super().__init__(model, beside=(self.microphone, self.file), renderer=renderer)
