"""Whether a model does here what it should: each promise tried on the loaded model itself.

    report = doctor(F2LLM("80M"))
    print(report)

What is tried is in `checks.py`, and for a model on a server in `server.py`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from f2llm_core.encoder import F2LLM
from f2llm_core.errors import ConfigurationError, F2LLMError, ModelError
from f2llm_core.stores import VectorStore, open_store
from f2llm_core.stores.guarding import encoder_of

Status = Literal["passed", "failed", "skipped"]

_MARKS: dict[Status, str] = {"passed": "✓", "failed": "✗", "skipped": "–"}


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that was tried.

    Attributes:
        name: What.
        status: What came of it; `"skipped"` where it does not apply here.
        found: What was seen, or why it was skipped.
        advice: What to do; empty unless it failed.
    """

    name: str
    status: Status
    found: str
    advice: str = ""

    def __str__(self) -> str:
        end = f". {self.advice}" if self.advice else ""
        return f"{_MARKS[self.status]} {self.name}: {self.found}{end}"


@dataclass(frozen=True, slots=True)
class Report:
    """What was found of a model.

    Attributes:
        model: Hub id or folder.
        checks: In the order in which they were made.
    """

    model: str
    checks: tuple[Check, ...]

    @property
    def healthy(self) -> bool:
        """Whether nothing failed."""
        return all(check.status != "failed" for check in self.checks)

    def __str__(self) -> str:
        return "\n".join([self.model, *map(str, self.checks)])


def doctor(model: object, *, store: object = None, golden: Path | None = None) -> Report:
    """Try a model on a few texts; it is loaded first, and a second time in float32 to compare.

    What a server runs is held against the same model in this process, if its weights are here, or
    against what `f2llm_core.doctor.golden.write_golden` has written where they are.

    Args:
        model: An `F2LLM`, or the adapter of a framework around one, with the options it is used
            with.
        store: A collection to audit with it, as `f2llm_core.audit` does; None for none. That needs
            a model that runs in this process.
        golden: File of right vectors, for a model on a server; None for none.

    Returns:
        What was found. What is wrong with the model is in there and not raised.

    Raises:
        ConfigurationError: `model` or `store` is of no known kind; `store` is given though a
            server runs the model; or `golden` is damaged, of another model, or not needed, since
            the model runs in this process.
        StoreError: The store failed.
    """
    encoder, opened = encoder_of(model), None if store is None else open_store(store)
    if encoder.config["backend"] == "endpoint":
        if opened is not None:
            msg = (
                "A collection is audited with a model that runs in this process: examine the "
                "server without store, and audit the collection without base_url."
            )
            raise ConfigurationError(msg)
        checks = list(_examine_server(encoder, golden))
    elif golden is None:
        checks = list(_examine(encoder))
    else:
        msg = "golden is for a model on a server: pass base_url, or leave it out."
        raise ConfigurationError(msg)
    if opened is not None and all(check.status != "failed" for check in checks):
        checks += _audit(opened, encoder)
    return Report(encoder.model, tuple(checks))


def _examine(encoder: F2LLM) -> Iterator[Check]:
    from f2llm_core.doctor.checks import CHECKS, Patient, check_files

    try:
        patient = Patient(encoder)
        yield check_files(patient, "files")
        patient.backend.load()
    except ModelError as error:
        yield Check("loading", "failed", str(error))  # such an error says what to do
        return
    for name, check in CHECKS.items():
        try:
            yield check(patient, name)
        except Exception as error:  # a broken engine may raise anything
            kind = "" if isinstance(error, F2LLMError) else f"{type(error).__name__}: "
            yield Check(name, "failed", f"{kind}{error}")


def _examine_server(encoder: F2LLM, golden: Path | None) -> Iterator[Check]:
    from f2llm_core.doctor.golden import read_golden
    from f2llm_core.doctor.server import examine_server

    yield from examine_server(encoder, None if golden is None else read_golden(golden))


def _audit(store: VectorStore, encoder: F2LLM) -> list[Check]:
    from f2llm_core.auditing import audit

    report = audit(store, encoder)
    if report.right:
        return [Check(report.store, "passed", f"least cosine {report.cosine:.4f}")]
    return [Check(report.store, "failed", cause.message) for cause in report.causes]
