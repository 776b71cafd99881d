"""The product inside the recurrent kernel, held to NumPy's, and its promise that grouping changes no bit."""

import numpy as np
import pytest

from bss2lab.kernels.layers import LANES, chain_of, transposed
from bss2lab.kernels.matmul import PANEL, ROWS, multiply, pack
from bss2lab.topology import Layer, Network


def packed(w):
    panels = np.empty((w.shape[1] // PANEL, w.shape[0], PANEL), w.dtype)
    pack(w, panels)
    return panels


def product(a, w):
    out = np.full((len(a), w.shape[1]), np.nan, a.dtype)
    multiply(a, packed(w), out)
    return out


def drawn(shape, dtype, seed):
    return np.random.default_rng(seed).normal(size=shape).astype(dtype)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("rows", [0, 1, ROWS - 1, ROWS, ROWS + 1, 3 * ROWS + 2])
@pytest.mark.parametrize(("inner", "columns"), [(1, PANEL), (37, 3 * PANEL), (192, 192)])
def test_agrees_with_numpy(dtype, rows, inner, columns):
    a, w = drawn((rows, inner), dtype, 1), drawn((inner, columns), dtype, 2)
    exact = a.astype(np.longdouble) @ w.astype(np.longdouble)
    bound = inner * np.finfo(dtype).eps * (abs(a).astype(np.longdouble) @ abs(w).astype(np.longdouble))
    assert (abs(product(a, w) - exact) <= bound).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_row_has_the_same_bits_in_whatever_company(dtype):
    a, w = drawn((2 * ROWS + 3, 186), dtype, 3), drawn((186, 192), dtype, 4)
    together = product(a, w)
    alone = np.concatenate([product(a[i : i + 1], w) for i in range(len(a))])
    in_pairs = np.concatenate([product(a[i : i + 2], w) for i in range(0, len(a), 2)])
    np.testing.assert_array_equal(together, alone)
    np.testing.assert_array_equal(together, in_pairs)


def test_what_is_not_finite_stays_in_its_row_and_column():
    a, w = drawn((ROWS, 20), np.float32, 5), drawn((20, 2 * PANEL), np.float32, 6)
    a[1, 3], w[7, 4] = np.nan, np.inf
    found = product(a, w)
    assert np.isnan(found[1]).all()
    rest = np.delete(found, 1, axis=0)
    assert np.isinf(rest[:, 4]).all()
    assert np.isfinite(np.delete(rest, 4, axis=1)).all()


def test_weights_are_packed_for_the_way_back():
    """A panel is as wide as neurons are padded to, and the product is that with the transposed weights."""
    assert PANEL == LANES
    network = Network(3, [Layer(40, recurrent=True), Layer(20), Layer(5, spiking=False)])
    chain = chain_of(network, [(0.5, 0.5)] * 3, np.float64)
    panels = transposed(chain, drawn((1, chain.n_weights), np.float64, 7)[0])
    weights = drawn((1, chain.n_weights), np.float64, 7)[0]
    for at, rows, pad in ((chain.loops[0], 48, 48), (chain.feeds[1], 48, 32), (chain.feeds[2], 32, 16)):
        adjoint, found = drawn((6, pad), np.float64, 8), np.empty((6, rows))
        multiply(adjoint, panels[at : at + rows * pad].reshape(rows // PANEL, pad, PANEL), found)
        w = weights[at : at + rows * pad].reshape(rows, pad)
        np.testing.assert_allclose(found, adjoint @ w.T, rtol=1e-12, atol=1e-12)
