"""A matrix product for kernels: small, on the calling thread alone, the same bits whatever the shape around it.

BLAS would multiply as fast, but it starts threads of its own from a certain size on, and rows of a larger product
differ in their last bits from rows of a smaller one. Here every entry is summed in the order of the inner index, so
that samples can be grouped freely and results depend neither on the grouping nor on the number of threads.

The method is the usual one (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", ACM TOMS 2008):
the right-hand matrix is packed once into panels as wide as a few vector registers, and a tile of ``ROWS`` rows times
one panel stays in registers while the inner index runs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from bss2lab.kernels.jit import Intrinsic, kernel

PANEL = 16
"""Columns of a panel: two vector registers of AVX2, one of AVX-512."""

ROWS = 5
"""Rows of a tile: with two registers a row, sums, panel and factors fit the sixteen registers of AVX2."""


def _tile(rows: int) -> Any:
    """Return ``tile(a, panels, out, row, panel)``: some rows of ``a`` times one panel, into ``out``."""

    def tile(typing_context, a, panels, out, row, panel):  # type: ignore[no-untyped-def]
        from numba import types

        signature = types.void(a, panels, out, row, panel)
        return signature, _generator(rows)

    return Intrinsic(tile)


def _generator(rows: int) -> Callable[..., Any]:
    from llvmlite import ir
    from numba.core import cgutils

    def generate(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        a, panels, out = (
            context.make_array(kind)(context, builder, value)
            for kind, value in zip(signature.args[:3], arguments[:3], strict=True)
        )
        row, panel = arguments[3:]
        scalar = context.get_data_type(signature.args[0].dtype)
        vector = ir.VectorType(scalar, PANEL)
        name = f"llvm.fmuladd.v{PANEL}{scalar.intrinsic_name}"  # (one rounding where the processor can, else two)
        fused = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)
        depth = cgutils.unpack_tuple(builder, a.shape)[1]
        width = cgutils.unpack_tuple(builder, out.shape)[1]
        index, lane = depth.type, ir.IntType(32)
        nothing = ir.Constant(vector, ir.Undefined)
        every = ir.Constant(ir.VectorType(lane, PANEL), [0] * PANEL)
        zero = ir.Constant(vector, [0.0] * PANEL)

        def address(base, *terms):  # type: ignore[no-untyped-def]
            for term in terms:
                base = builder.gep(base, [term])
            return base

        firsts = [builder.add(row, index(r)) for r in range(rows)]
        from_a = [address(a.data, builder.mul(first, depth)) for first in firsts]
        column = builder.mul(panel, index(PANEL))
        from_panel = address(panels.data, builder.mul(column, depth))
        to = [address(out.data, builder.mul(first, width), column) for first in firsts]
        size = context.get_abi_sizeof(scalar)
        sums = [cgutils.alloca_once_value(builder, zero) for _ in range(rows)]
        with cgutils.for_range(builder, depth, intp=index) as loop:
            k = loop.index
            at = address(from_panel, builder.mul(k, index(PANEL)))
            right = builder.load(builder.bitcast(at, vector.as_pointer()), align=size)
            for r in range(rows):
                one = builder.load(address(from_a[r], k))
                left = builder.shuffle_vector(builder.insert_element(nothing, one, lane(0)), nothing, every)
                builder.store(builder.call(fused, [left, right, builder.load(sums[r])]), sums[r])
        for r in range(rows):
            builder.store(builder.load(sums[r]), builder.bitcast(to[r], vector.as_pointer()), align=size)
        return context.get_dummy_value()

    return generate


_many, _one = _tile(ROWS), _tile(1)


@kernel(fast=True)
def pack(w, panels):
    """Copy a matrix, [inner, column], into panels, [column // PANEL, inner, PANEL]; columns fill whole panels."""
    for p in range(panels.shape[0]):
        for k in range(panels.shape[1]):
            for j in range(PANEL):
                panels[p, k, j] = w[k, p * PANEL + j]


@kernel(fast=True)
def multiply(a, panels, out):
    """Write a · w into ``out``.

    Args:
        a: [row, inner], contiguous.
        panels: w, packed (see ``pack``), [panel, inner, PANEL].
        out: [row, panel · PANEL], contiguous; not ``a``.
    """
    whole = a.shape[0] - a.shape[0] % ROWS
    for p in range(panels.shape[0]):
        for i in range(0, whole, ROWS):
            _many(a, panels, out, np.intp(i), np.intp(p))
        for i in range(whole, a.shape[0]):
            _one(a, panels, out, np.intp(i), np.intp(p))
