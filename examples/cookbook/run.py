"""Execute the notebooks in place, so that what they show is what the code does.

    python examples/cookbook/run.py [NOTEBOOK …]

Each runs in a fresh kernel. What would differ from run to run (times, versions, the kernel's name)
is left out, and the last picture of each is written to `pictures/` for the README.
"""

from __future__ import annotations

import argparse
import base64
import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError
from traitlets.config import Config

HERE = Path(__file__).resolve().parent
NOTEBOOKS = sorted(HERE.glob("*.ipynb"))

_SECONDS_PER_CELL = 300
_METADATA = {
    "kernelspec": {"name": "python3", "display_name": "Python 3", "language": "python"},
    "language_info": {"name": "python"},
}


def execute(path: Path, folder: Path) -> Any:  # noqa: ANN401  (nbformat's node has no types)
    """Run a notebook.

    Args:
        path: The notebook, which is not written.
        folder: Where its kernel stands.

    Returns:
        The notebook with the outputs of this run.

    Raises:
        CellExecutionError: A cell failed; the message holds it and its traceback.
    """
    notebook = nbformat.read(path, as_version=4)
    with tempfile.TemporaryDirectory() as sockets:
        # Sockets in a folder rather than ports, which others on the machine could listen to.
        place = {"transport": "ipc", "ip": f"{sockets}/kernel"}
        client = NotebookClient(
            notebook,
            config=Config(ConnectionFileMixin=place),
            resources={"metadata": {"path": str(folder)}},
            kernel_name="python3",
            record_timing=False,
            coalesce_streams=True,
            timeout=_SECONDS_PER_CELL,
        )
        client.execute(env={**os.environ, "HF_HUB_OFFLINE": "1"})
    notebook.metadata = nbformat.from_dict(_METADATA)
    return notebook


def last_picture(notebook: Any) -> bytes | None:  # noqa: ANN401
    """Return the last picture that a notebook shows, as PNG; None if it shows none."""
    shown = [
        output.data["image/png"]
        for cell in notebook.cells
        for output in cell.get("outputs", [])
        if "image/png" in output.get("data", {})
    ]
    return base64.b64decode(shown[-1]) if shown else None


def main() -> int:
    """Execute the notebooks that were named, or all, and return the exit code."""
    parser = argparse.ArgumentParser(description="Execute the notebooks in place.")
    parser.add_argument("notebooks", nargs="*", type=Path, help="default: all of them")
    for path in parser.parse_args().notebooks or NOTEBOOKS:
        print(path.name)
        try:
            notebook = execute(path, HERE)
        except CellExecutionError as error:
            print(f"{path.name} failed; it was not written.\n{error}", file=sys.stderr)
            return 1
        nbformat.write(notebook, path)
        if picture := last_picture(notebook):
            (HERE / "pictures" / path.with_suffix(".png").name).write_bytes(picture)
    return 0


if __name__ == "__main__":
    sys.exit(main())
