"""The table of what stock integrations get wrong: ours are right, and the README shows it as is."""

from __future__ import annotations

import re
import warnings
from pathlib import Path

import pytest

from benchmarks import peers

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def rows(demo_model, tmp_path_factory):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the peers' own
        return peers.findings(demo_model, tmp_path_factory.mktemp("peers"))


def test_ours_are_right_in_every_row(rows):
    ours = [i for i, peer in enumerate(peers.INTEGRATIONS) if "f2llm" in peer.name]
    assert len(ours) == 2
    assert len(rows) == 5
    for name, cells in rows.items():
        assert [cells[i].right for i in ours] == [True, True], name


def test_every_row_is_a_real_difference(rows):
    peers_only = [i for i, peer in enumerate(peers.INTEGRATIONS) if "f2llm" not in peer.name]
    for name, cells in rows.items():
        assert False in {cells[i].right for i in peers_only}, name


def test_the_readme_shows_this_table(rows):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    number = re.compile(r"\d+\.\d{3}")
    shown = [line for line in readme.splitlines() if line.startswith("| ") and "f2llm**" in line]
    measured = peers.table(rows).splitlines()
    start = readme.splitlines().index(shown[0])
    for line, expected in zip(readme.splitlines()[start:], measured, strict=False):
        assert number.sub("#", line) == number.sub("#", expected)
        # The last digits of a float32 sum depend on the processor.
        assert [float(x) for x in number.findall(line)] == pytest.approx(
            [float(x) for x in number.findall(expected)], abs=0.01
        )
