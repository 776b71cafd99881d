"""What a kernel is made of, as a digest: its code and that of all it calls, without comments and docstrings."""

from __future__ import annotations

import ast
import functools
import hashlib
import inspect
import linecache
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from types import BuiltinFunctionType, FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.types import Type

_NOT_OURS = ("numba", "numpy", "llvmlite", "builtins", "math", "typing")
"""Packages whose functions are known by their names: their versions are part of every kernel's key anyway."""


def digest_of(function: Callable[..., Any]) -> str:
    """Return a digest of a function, of every function that it calls, and of every constant that it reads.

    Comments, docstrings, type annotations, line numbers and code that the function does not use do not count.

    Args:
        function: a plain function, a numba dispatcher, or an intrinsic.

    Raises:
        TypeError: if it reads a global of a kind whose changes cannot be told.
        OSError: if its source is not there.
    """
    parts: dict[str, str] = {}
    _visit(function, parts)
    return _sha256(f"{name}: {parts[name]}\n" for name in sorted(parts))


def code_digest(files: Iterable[Path]) -> str:
    """Return a digest of whole source files, comments and docstrings aside."""
    return _sha256(f"{file.name}: {ast.dump(_Bare().visit(ast.parse(file.read_bytes())))}\n" for file in sorted(files))


def _sha256(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode())
    return digest.hexdigest()[:24]


def _visit(function: Any, parts: dict[str, str]) -> None:
    options = {k: sorted(v) if isinstance(v, set) else v for k, v in getattr(function, "targetoptions", {}).items()}
    plain = _plain(function)
    name = f"{plain.__module__}.{plain.__qualname__}"
    cells = inspect.getclosurevars(plain).nonlocals
    if cells:  # one source, many functions
        name += repr(sorted((key, repr(value)) for key, value in cells.items() if not callable(value)))
    if name in parts:
        return
    parts[name] = ""  # (a function may call itself)
    body, paths = _source(plain.__code__.co_filename, plain.__code__.co_firstlineno)
    read = "; ".join(_described(path, value, parts) for path, value in _globals(plain, paths))
    parts[name] = f"{sorted(options.items())} {body} {read}"


def _plain(function: Any) -> FunctionType:
    """Return the Python function behind a dispatcher, an intrinsic or a compiled entry point."""
    for attribute in ("py_func", "_defn"):
        function = getattr(function, attribute, function)
    return function


def _described(path: str, value: Any, parts: dict[str, str]) -> str:
    module = str(getattr(value, "__module__", ""))
    if isinstance(value, bool | int | float | complex | str | bytes | np.generic | tuple | type(None)):
        return f"{path} = {value!r}"
    if isinstance(value, np.ndarray):
        return f"{path} = {value.dtype} {value.shape} {hashlib.sha256(value.tobytes()).hexdigest()}"
    if isinstance(value, Type | np.dtype | BuiltinFunctionType | np.ufunc):
        return f"{path} = {value}"
    if isinstance(value, type):
        return f"{path} = {module}.{value.__qualname__} {getattr(value, '_fields', '')}"
    if module.split(".")[0] in _NOT_OURS and not hasattr(value, "py_func") and not hasattr(value, "_defn"):
        return f"{path} = {module}.{getattr(value, '__qualname__', type(value).__qualname__)}"
    if isinstance(_plain(value), FunctionType):
        _visit(value, parts)
        plain = _plain(value)
        return f"{path} = {plain.__module__}.{plain.__qualname__}"
    raise TypeError(f"a kernel reads {path}, a {type(value).__name__}: make it a number, an array or a function")


def _globals(function: FunctionType, paths: tuple[tuple[str, ...], ...]) -> Iterator[tuple[str, Any]]:
    """Iterate over what the function reads from outside, as (dotted name, value)."""
    known = {**function.__globals__, **inspect.getclosurevars(function).nonlocals}
    for first, *rest in paths:
        value, name = known.get(first, known), first
        while isinstance(value, ModuleType) and rest:
            value, name = getattr(value, rest[0]), f"{name}.{rest.pop(0)}"
        if value is not known and not isinstance(value, ModuleType):
            yield name, value


@functools.cache
def _source(file: str, line: int) -> tuple[str, tuple[tuple[str, ...], ...]]:
    """Return the bare code of the function that begins there, and the dotted names that it reads from outside."""
    node = _functions(file)[line]
    own = {argument.arg for argument in ast.walk(node.args) if isinstance(argument, ast.arg)}
    paths = set()
    for part in ast.walk(node):
        path: list[str] = []
        while isinstance(part, ast.Attribute):
            path, part = [part.attr, *path], part.value
        if isinstance(part, ast.Name) and part.id not in own:
            paths.add((part.id, *path))
    return ast.dump(node), tuple(sorted(paths))


@functools.cache
def _functions(file: str) -> dict[int, ast.FunctionDef]:
    """Return the bare functions of a file by the line of their first decorator, or of their ``def``."""
    source = "".join(linecache.getlines(file))
    if not source:
        raise OSError(f"the source {file} is not there")
    functions = {}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef):
            line = min([node.lineno, *(decorator.lineno for decorator in node.decorator_list)])
            node.decorator_list = []  # (what they set is among the options)
            functions[line] = node
    for node in functions.values():
        _Bare().visit(node)
    return functions


class _Bare(ast.NodeTransformer):
    """Drops what does not compute: strings that stand alone, and annotations of arguments and results."""

    def visit_Expr(self, node: ast.Expr) -> ast.AST | None:
        return None if isinstance(node.value, ast.Constant) else node

    def visit_arg(self, node: ast.arg) -> ast.AST:
        node.annotation = None
        return node

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.returns = None
        return node
