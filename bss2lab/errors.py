"""One kind of error for everything a user can put right: what was expected, what came, how to mend it."""

from importlib import import_module
from types import ModuleType


class Bss2Error(Exception):
    """Base of the errors whose text is written for the user; the command line prints it without a traceback."""


class InputError(Bss2Error, ValueError):
    """A value handed to the library cannot be used."""


class DataError(Bss2Error, OSError):
    """A data file is missing, corrupt or of the wrong kind."""


class CalibrationError(Bss2Error, ValueError):
    """A calibration is damaged, or was made for another chip."""


class CheckpointError(Bss2Error, ValueError):
    """A checkpoint is damaged, hostile, or belongs to another configuration."""


class SoundWarning(UserWarning):
    """A recording can be used, but not as it is."""


class WeightsWarning(UserWarning):
    """Weights fit the chip's format, but hardly anything of the network is left in it."""


def complain(what: str, *, expected: object, got: object, fix: str) -> str:
    """Compose the text of an error.

    Args:
        what: the thing that is wrong, as the user knows it ("weights", "--epochs").
        expected: what would have been right, with unit or range.
        got: what came instead.
        fix: the next thing to try.

    Returns:
        One line: ``what: expected …, got …; fix``.
    """
    return f"{what}: expected {expected}, got {got}; {fix}"


def load_module(name: str) -> ModuleType:
    """Import a module for a package's ``__getattr__``.

    Raises:
        ImportError: also where a broken package raises AttributeError, which ``from … import`` would take for a
            missing name and forget.
    """
    try:
        return import_module(name)
    except AttributeError as error:
        raise ImportError(f"{name} cannot be imported: {error}", name=name) from error
