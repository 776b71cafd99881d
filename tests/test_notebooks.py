"""The notebooks: saved with pictures and without errors or widget state, and executed from a clean kernel."""

from __future__ import annotations

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[1] / "nbs").glob("*.ipynb"))


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> nbformat.NotebookNode:
    return nbformat.read(request.param, as_version=4)


def _code(notebook: nbformat.NotebookNode) -> list[nbformat.NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert {path.stem for path in NOTEBOOKS} >= {"00_tour", "23_fig3_mnist"}


def test_is_saved_in_full_and_without_errors(notebook: nbformat.NotebookNode) -> None:
    assert "widgets" not in notebook.metadata
    counts = [cell.execution_count for cell in _code(notebook)]
    assert counts == list(range(1, len(counts) + 1)), "saved out of order or not executed"
    outputs = [output for cell in _code(notebook) for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 3


def test_begins_with_title_imports_parameters_and_ends_with_exercises(notebook: nbformat.NotebookNode) -> None:
    first, imports, parameters = notebook.cells[:3]
    assert first.source.startswith("# ")
    assert "Run time" in first.source or "Quick mode" in first.source
    assert "import" in imports.source
    assert parameters.metadata.tags == ["parameters"]
    prose = "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")
    assert prose.count("<summary>Solution</summary>") == 3


def test_is_small(notebook: nbformat.NotebookNode, request: pytest.FixtureRequest) -> None:
    assert len(nbformat.writes(notebook)) < 1_000_000


@pytest.mark.slow
def test_executes_from_a_clean_kernel(notebook: nbformat.NotebookNode) -> None:
    for cell in _code(notebook):
        cell.outputs, cell.execution_count = [], None
    NotebookClient(notebook, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS[0].parent)}}).execute()
    texts = [output.get("text", "") for cell in _code(notebook) for output in cell.outputs]
    assert any("test 9" in text for text in texts), "no accuracy above 90 % was printed"


@pytest.mark.slow
def test_solutions_of_the_exercises_run(notebook: nbformat.NotebookNode) -> None:
    """Folded solutions are run in place of their starter cells' successors."""
    solved = nbformat.v4.new_notebook(metadata=notebook.metadata)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            solved.cells.append(nbformat.v4.new_code_cell(cell.source))
        for block in cell.source.split("```python\n")[1:] if cell.cell_type == "markdown" else []:
            solved.cells.append(nbformat.v4.new_code_cell(block.split("```")[0]))
    assert len(solved.cells) == len(_code(notebook)) + 3
    NotebookClient(solved, timeout=600, resources={"metadata": {"path": str(NOTEBOOKS[0].parent)}}).execute()
