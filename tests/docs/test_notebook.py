"""The notebook of the tutorial: every cell runs, in a kernel, as a reader runs it."""

from __future__ import annotations

from pathlib import Path

import nbformat
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "docs" / "tutorial" / "notebook.ipynb"
# In place of the LLM, which a reader has: texts and vectors without a model.
PARAMETERS = 'model, backend = "m", "seeded"'


def test_every_cell_of_the_notebook_runs(tmp_path: Path) -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    [parameters] = [c for c in notebook.cells if "parameters" in c.metadata.get("tags", ())]
    parameters.source = PARAMETERS
    NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": tmp_path}}
    ).execute()
    told = nbformat.writes(notebook)
    for shown in ("72 records of 24 problems", "LatentRecord('demo-01'", "image/png", "<table"):
        assert shown in told
    # Outputs are not kept in the repository.
    assert not any(cell.get("outputs") for cell in nbformat.read(NOTEBOOK, as_version=4).cells)
