"""The cookbook's notebooks: they run, and still say what their committed outputs say."""

from __future__ import annotations

import importlib.util
import re
from pathlib import Path

import nbformat
import pytest
from conftest import ROOT

COOKBOOK = ROOT / "examples" / "cookbook"
NOTEBOOKS = sorted(COOKBOOK.glob("*.ipynb"))
#: What must not be in an output: folders of a machine, warnings' and errors' places, timings.
PRIVATE = re.compile(
    r"(?<!\w)/(home|root|work|tmp|usr|var|opt|Users)/|site-packages|Traceback|\x1b\["
)
_FIGURE = re.compile(r"-?\d+(?:\.\d+)?")
_ROUNDING = 0.011  # of figures of two digits, on processors that add in another order


@pytest.fixture(scope="module")
def runner():
    spec = importlib.util.spec_from_file_location("cookbook_run", COOKBOOK / "run.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def shown(cell):
    """All that a cell shows as text, in one piece: a stream is cut anywhere."""
    parts = []
    for output in cell.get("outputs", []):
        data = output.get("data", {})
        parts.append(output.get("text") or data.get("text/markdown") or data.get("text/plain", ""))
    return "".join(parts)


def telling(notebook):
    """The text of the last cell that has any besides a picture's name."""
    told = [shown(cell) for cell in notebook.cells if cell.cell_type == "code"]
    return next((t for t in reversed(told) if t and not t.startswith("<Figure")), "")


def same(one, other):
    """Whether two texts have the same words, and figures that differ by their rounding at most."""
    figures, others = (list(map(float, _FIGURE.findall(text))) for text in (one, other))
    return _FIGURE.sub("#", one) == _FIGURE.sub("#", other) and figures == pytest.approx(
        others, rel=0, abs=_ROUNDING
    )


def test_same_tells_rounding_from_another_finding():
    assert same("nDCG 0.85 at 128", "nDCG 0.86 at 128")
    assert not same("nDCG 0.85 at 128", "nDCG 0.85 at 64")
    assert not same("nDCG 0.85", "nDCG 0.88")
    assert not same("nothing is wrong", "without EOS")


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_the_committed_outputs_are_fit_to_be_seen(path: Path):
    notebook = nbformat.read(path, as_version=4)
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1)), "make cookbook"
    for cell in code:
        assert not PRIVATE.search(shown(cell)), cell.source
        assert not [o for o in cell.outputs if o.get("name") == "stderr"], cell.source
    picture = COOKBOOK / "pictures" / f"{path.stem}.png"
    text = (COOKBOOK / "README.md").read_text(encoding="utf-8")
    assert f"]({path.name})" in text
    assert not picture.exists() or f"](pictures/{picture.name})" in text


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_says_what_it_said(runner, path: Path):
    before = nbformat.read(path, as_version=4)
    after = runner.execute(path, COOKBOOK)
    assert same(telling(before), telling(after)), f"now: {telling(after)}"
    pictured = [runner.last_picture(notebook) is not None for notebook in (before, after)]
    assert pictured[0] == pictured[1]
