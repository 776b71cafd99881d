"""The notebooks: saved with pictures and without errors or widget state, and executed from a clean kernel."""

from __future__ import annotations

import ast
import os
import re
from datetime import datetime
from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ONE_THREAD = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), "1")
"""Kernels run beside each other, one per test process: more threads than cores would wait for each other."""


def _seconds(path: Path) -> float:
    """How long its cells took when it was saved."""
    times = re.findall(r'"(?:iopub.execute_input|shell.execute_reply)": "([^"]+)"', path.read_text(encoding="utf-8"))
    return (datetime.fromisoformat(max(times)) - datetime.fromisoformat(min(times))).total_seconds() if times else 0.0


NOTEBOOKS = sorted((Path(__file__).parents[1] / "nbs").glob("*.ipynb"), key=_seconds, reverse=True)
"""The longest first: processes that share the tests then end together."""


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def _code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def _tree(notebook: nbformat.NotebookNode) -> ast.Module:
    return ast.parse("\n".join(cell.source for cell in _code(notebook)))


def _trains(notebook: nbformat.NotebookNode) -> bool:
    """Does it call ``fit`` (of the package or of a run)?"""
    called = [node.func for node in ast.walk(_tree(notebook)) if isinstance(node, ast.Call)]
    return "fit" in {f.attr if isinstance(f, ast.Attribute) else getattr(f, "id", "") for f in called}


def _prose(notebook: nbformat.NotebookNode) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def _texts(notebook: nbformat.NotebookNode) -> list[str]:
    outputs = [output for cell in _code(notebook) for output in cell.outputs]
    shown = [output.get("data", {}).get(kind, "") for output in outputs for kind in ("text/plain", "text/markdown")]
    return [output.get("text", "") for output in outputs] + shown


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {
        "00_tour", "10_one_neuron", "11_mismatch_and_calibration", "12_from_sound_to_spikes", "23_fig3_mnist",
        "25_fig5_speech", "26_tables",
    }  # fmt: skip


def test_those_that_train_are_told_from_those_that_do_not() -> None:
    trains = {path.stem for path in NOTEBOOKS if _trains(nbformat.read(path, as_version=4))}
    assert trains >= {"00_tour", "23_fig3_mnist"}
    assert not trains & {"10_one_neuron", "11_mismatch_and_calibration", "12_from_sound_to_spikes"}


def test_is_saved_in_full_and_without_errors(notebook: nbformat.NotebookNode) -> None:
    assert "widgets" not in notebook.metadata
    counts = [cell.execution_count for cell in _code(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "saved out of order or not executed"
    outputs = [output for cell in _code(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"], "saved with warnings"
    assert not re.search(r"(^|[\s'\"(])/(home|tmp|work|root|usr)/", "\n".join(_texts(notebook))), (
        "a path of some machine"
    )
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3


def test_begins_with_title_imports_parameters_and_ends_with_exercises(notebook: nbformat.NotebookNode) -> None:
    first, imports, parameters = notebook.cells[:3]
    assert first.source.startswith("# ")
    assert "Run time" in first.source or "Quick mode" in first.source
    assert "import" in imports.source
    assert parameters.metadata.tags == ["parameters"]
    prose = _prose(notebook)
    exercises = prose.index("## Exercises")
    assert re.findall(r"\*\*\d · (\w+)\.\*\*", prose[exercises:]) == ["Predict", "Change", "Extend"]
    assert prose.count("<summary>Hint</summary>") == prose.count("<summary>Solution</summary>") == 3
    assert prose.count("```python") == 3
    assert any("| tolerance | provenance |" in text for text in _texts(notebook)), (
        "no table of published values and ours"
    )


def test_checks_its_numbers(notebook: nbformat.NotebookNode) -> None:
    """At least three asserts compare numbers: a picture alone does not fail."""
    comparisons = (ast.Lt, ast.LtE, ast.Gt, ast.GtE, ast.Eq)

    def compares(check: ast.Assert) -> bool:
        found = [node for node in ast.walk(check.test) if isinstance(node, ast.Compare)]
        return any(isinstance(op, comparisons) for compare in found for op in compare.ops)

    checks = [node for node in ast.walk(_tree(notebook)) if isinstance(node, ast.Assert)]
    assert sum(map(compares, checks)) >= 3


def test_is_small(notebook: nbformat.NotebookNode, request: pytest.FixtureRequest) -> None:
    assert len(nbformat.writes(notebook)) < 1_000_000


@pytest.mark.slow
def test_executes_from_a_clean_kernel_and_so_do_the_solutions(notebook: nbformat.NotebookNode) -> None:
    """Folded solutions are run in place of their starter cells' successors."""
    whole = nbformat.v4.new_notebook(metadata=notebook.metadata)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            whole.cells.append(nbformat.v4.new_code_cell(cell.source))
        for block in cell.source.split("```python\n")[1:] if cell.cell_type == "markdown" else []:
            whole.cells.append(nbformat.v4.new_code_cell(block.split("```")[0]))
    assert len(whole.cells) == len(_code(notebook)) + 3
    client = NotebookClient(whole, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS[0].parent)}})
    client.execute(env={**os.environ, **ONE_THREAD})
    if _trains(notebook):
        printed = re.findall(r"test (\d+\.\d+) %", "\n".join(_texts(whole)))
        assert max(map(float, printed), default=0.0) > 85, "no test accuracy above 85 % was printed"
