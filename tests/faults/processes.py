"""Running modules of this suite in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).resolve().parents[1]


def command(module: str, *arguments: object) -> list[str]:
    """Return the command line of a module of this suite."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment, in which this suite can be imported."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | variables


def lines_of(module: str, *arguments: object, timeout: float, **variables: str) -> list[str]:
    """Run a module and return what it printed, line by line.

    Args:
        module: For example `"faults.stream"`.
        arguments: Its arguments.
        timeout: In seconds; it is ended then, and `TimeoutExpired` raised.
        variables: Of the environment.
    """
    done = subprocess.run(
        command(module, *arguments),
        env=environment(**variables),
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=timeout,
    )
    return done.stdout.splitlines()
