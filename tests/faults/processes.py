"""Running modules of this suite in processes of their own."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from subprocess import PIPE, CalledProcessError, Popen

TESTS = Path(__file__).resolve().parents[1]


def command(module: str, *arguments: object) -> list[str]:
    """Return the command line of a module of this suite."""
    return [sys.executable, "-m", module, *map(str, arguments)]


def environment(**variables: str) -> dict[str, str]:
    """Return this process's environment, in which this suite can be imported."""
    paths = [str(TESTS), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)} | variables


@contextmanager
def running(module: str, *arguments: object, **variables: str) -> Iterator[Popen[str]]:
    """Run a module beside this process; it is ended with the block.

    Args:
        module: For example `"faults.stream"`.
        arguments: Its arguments.
        variables: Of the environment.
    """
    with Popen(
        command(module, *arguments), env=environment(**variables), stdout=PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def printed_by(process: Popen[str], timeout: float) -> list[str]:
    """Wait for the end of a process that went well, and return what it printed, line by line.

    Args:
        process: Of `running`.
        timeout: In seconds; `TimeoutExpired` is raised then.
    """
    printed, _ = process.communicate(timeout=timeout)
    if process.returncode:
        raise CalledProcessError(process.returncode, process.args)
    return printed.splitlines()


def lines_of(module: str, *arguments: object, timeout: float, **variables: str) -> list[str]:
    """Run a module and return what it printed, line by line.

    Args:
        module: For example `"faults.stream"`.
        arguments: Its arguments.
        timeout: In seconds; it is ended then, and `TimeoutExpired` raised.
        variables: Of the environment.
    """
    with running(module, *arguments, **variables) as process:
        return printed_by(process, timeout)
