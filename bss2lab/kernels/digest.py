"""What a kernel is made of, as a digest: its code and that of all it calls, without comments and docstrings."""

from __future__ import annotations

import ast
import hashlib
from collections.abc import Callable, Iterable, Iterator
from enum import Enum
from pathlib import Path
from types import BuiltinFunctionType, CodeType, FunctionType, ModuleType
from typing import Any

import numpy as np

from bss2lab.kernels.jit import prange

_NOT_OURS = ("numba", "numpy", "llvmlite", "builtins", "math", "typing")
"""Packages whose members are known by their names: their versions are part of every kernel's key anyway."""


def digest_of(function: Callable[..., Any]) -> str:
    """Return a digest of a function as it is in memory, of all that it calls, and of every constant that it reads.

    Comments, docstrings, annotations, line numbers and what the function does not use do not count.

    Args:
        function: a plain function, a kernel, or an intrinsic.

    Raises:
        TypeError: if it reads a global of a kind whose changes cannot be told.
    """
    parts: dict[int, str] = {}
    _visit(function, parts)
    return _sha256(sorted(parts.values()))


def code_digest(files: Iterable[Path]) -> str:
    """Return a digest of whole source files, comments and docstrings aside."""
    return _sha256(f"{file.name}: {ast.dump(_Bare().visit(ast.parse(file.read_bytes())))}" for file in sorted(files))


def _sha256(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode() + b"\n")
    return digest.hexdigest()[:24]


def _visit(function: Any, parts: dict[int, str]) -> None:
    plain = _plain(function)
    if id(plain) in parts:
        return
    parts[id(plain)] = ""  # (a function may call itself)
    options = {k: sorted(v) if isinstance(v, set) else v for k, v in getattr(function, "targetoptions", {}).items()}
    read = [_described(name, value, parts) for name, value in sorted(_read_by(plain), key=lambda pair: pair[0])]
    body = _code(plain.__code__, plain.__doc__)
    parts[id(plain)] = f"{_name(plain)} {sorted(options.items())} {plain.__defaults__} {body} {read}"


def _plain(function: Any) -> FunctionType:
    """Return the Python function behind a kernel or an intrinsic."""
    return getattr(function, "py_func", function)


def _name(function: Any) -> str:
    return f"{function.__module__}.{function.__qualname__}"


def _code(code: CodeType, doc: str | None = None) -> str:
    """Return what a code object does, without its docstring and its place in the file."""
    constants = [
        _code(value) if isinstance(value, CodeType) else repr(value)
        for place, value in enumerate(code.co_consts)
        if not (place == 0 and (value is None or value == doc))
    ]
    names = code.co_names, code.co_varnames, code.co_freevars, code.co_cellvars
    return f"{code.co_code.hex()} {constants} {names} {code.co_argcount}"


def _read_by(function: FunctionType) -> Iterator[tuple[str, Any]]:
    """Iterate over what a function reads from outside: name and value, twice if under two names."""
    cells = zip(function.__code__.co_freevars, function.__closure__ or (), strict=True)
    yield from ((name, cell.cell_contents) for name, cell in cells)
    names = set(_names(function.__code__))
    for name in names & set(function.__globals__):
        value = function.__globals__[name]
        if not isinstance(value, ModuleType):
            yield name, value
            continue
        for attribute in names:  # (any of them may be the module's)
            found = getattr(value, attribute, value)
            if not isinstance(found, ModuleType):
                yield f"{name}.{attribute}", found


def _names(code: CodeType) -> Iterator[str]:
    yield from code.co_names
    for value in code.co_consts:
        if isinstance(value, CodeType):
            yield from _names(value)


def _described(name: str, value: Any, parts: dict[int, str]) -> str:
    """Return a name with what stands under it.

    Raises:
        TypeError: if it is of a kind whose changes cannot be told.
    """
    if isinstance(value, tuple):
        return f"{name} = {[_described(f'{name}[{place}]', one, parts) for place, one in enumerate(value)]}"
    if isinstance(value, bool | int | float | complex | str | bytes | np.generic | type(None)):
        return f"{name} = {type(value).__name__} {value!r}"
    if isinstance(value, np.ndarray):
        return f"{name} = {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if value is prange:
        return f"{name} = prange"
    if isinstance(value, np.dtype | BuiltinFunctionType | np.ufunc):
        return f"{name} = {value}"
    if isinstance(value, type) and issubclass(value, Enum):
        return f"{name} = {_name(value)} {[(one.name, repr(one.value)) for one in value]}"
    if isinstance(value, type) and hasattr(value, "_fields"):
        return f"{name} = {_name(value)} {value._fields}"
    if not hasattr(value, "py_func") and str(getattr(value, "__module__", "")).split(".")[0] in _NOT_OURS:
        return f"{name} = {value.__module__}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    if isinstance(_plain(value), FunctionType):
        _visit(value, parts)
        return f"{name} = {_name(_plain(value))}"
    raise TypeError(f"a kernel reads {name}, a {type(value).__name__}: make it a number, an array or a function")


class _Bare(ast.NodeTransformer):
    """Drops docstrings, and whatever else says nothing."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else node
