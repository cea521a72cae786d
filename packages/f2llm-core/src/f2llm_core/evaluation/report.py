"""The evaluation as one HTML page: no script, no network, light and dark, for a phone and a desk.

Same results, same bytes: the page holds no date.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from f2llm_core.errors import MissingExtraError
from f2llm_core.evaluation.report_view import View
from f2llm_core.evaluation.results import EvaluationResults

try:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup
except ImportError as error:
    raise MissingExtraError(__name__, "eval") from error

_TEMPLATE = "report.html.j2"
_LANGUAGE_TAG = re.compile(r"[A-Za-z]{2,3}(-[A-Za-z0-9]{2,8})*")
_WORD_ENDS = re.compile(r"(?<=[:./_?&=-])|(?<=[a-z])(?=[A-Z])")


def write_html(results: EvaluationResults, path: str | Path) -> None:
    """Write results as one self-contained page.

    Args:
        results: What was found.
        path: File to write; one that is there is replaced, whole or not at all.

    Raises:
        OSError: It cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f"{path.name}.part")
    # The name of a file, unlike a text of the data, may be no valid Unicode.
    page = render_html(results).encode("utf-8", "replace")
    unfinished.write_bytes(page)
    os.replace(unfinished, path)


def render_html(results: EvaluationResults) -> str:
    """Return results as one self-contained page."""
    environment = Environment(
        loader=PackageLoader(__name__.rpartition(".")[0]),
        autoescape=True,  # texts come from whoever wrote the data: none of them is ever markup
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {
        "breakable": _breakable,
        "language_tag": _language_tag,
        "percent": _percent,
        "points": lambda points: " ".join(f"{x},{y}" for x, y in points),
        "short": _short,
        "signed": _signed,
        "thousands": lambda value: f"{value:,}",
    }
    return environment.get_template(_TEMPLATE).render(view=View(results))


def _breakable(text: str) -> Markup:
    """Let a long name, such as that of a class, be broken between its words."""
    return Markup("<wbr>").join(_WORD_ENDS.split(text))


def _language_tag(language: str | None) -> str | None:
    """Return a language as HTML's `lang` takes it, or None for what is none, such as `"de+en"`."""
    tag = (language or "").replace("_", "-")
    return tag if _LANGUAGE_TAG.fullmatch(tag) else None


def _percent(share: float, digits: int = 0) -> str:
    return f"{share * 100:.{digits}f}\N{NO-BREAK SPACE}%"


def _signed(value: float) -> str:
    """Write a difference, without a sign where it rounds to nothing."""
    return f"{value:+.3f}".replace("-", "−") if abs(value) >= 0.0005 else "0.000"


def _short(number: int) -> str:
    """Write a number in four or five characters, for the axis of a chart."""
    return str(number) if number < 1000 else f"{number / 1000:.1f}k".replace(".0k", "k")
