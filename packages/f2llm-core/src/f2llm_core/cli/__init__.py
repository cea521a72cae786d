"""The `f2llm` command. Each command is a module; what is heavy is imported when one runs."""

from __future__ import annotations

import io
import sys
import warnings
from typing import Any, TextIO

import click

from f2llm_core import __version__
from f2llm_core.cli.ask import ask
from f2llm_core.cli.audit import audit
from f2llm_core.cli.cache import cache
from f2llm_core.cli.doctor import doctor
from f2llm_core.cli.embed import embed
from f2llm_core.cli.eval import eval_
from f2llm_core.cli.index import index
from f2llm_core.cli.info import info
from f2llm_core.cli.search import search
from f2llm_core.cli.shared import debug_enabled, debug_option, examples
from f2llm_core.errors import F2LLMError, F2LLMWarning


class _Group(click.Group):
    """Gives the errors and warnings of this library in one line each, on standard error."""

    def main(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401  (as in click)
        # Texts may be in any script, and Windows' code pages are not: a mark is better than an end.
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        return super().main(*args, **options)

    def invoke(self, context: click.Context) -> Any:  # noqa: ANN401  (as in click)
        with warnings.catch_warnings():
            warnings.showwarning = _show_warning
            try:
                return super().invoke(context)
            except F2LLMError as error:
                if debug_enabled(context):
                    raise
                message = " ".join(str(error).splitlines())
                raise click.ClickException(message) from error
            except BrokenPipeError:
                raise  # whoever read has seen enough; click ends quietly
            except OSError as error:  # a full disk, a folder that went away
                if debug_enabled(context):
                    raise
                raise click.ClickException(str(error)) from error


def _show_warning(
    message: Warning | str,
    category: type[Warning],
    filename: str,
    lineno: int,
    file: TextIO | None = None,
    line: str | None = None,
) -> None:
    if issubclass(category, F2LLMWarning):
        click.echo(f"Warning: {message}", err=True)
    else:
        text = warnings.formatwarning(message, category, filename, lineno, line)
        click.echo(text, err=True, nl=False)


@click.group(
    cls=_Group,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog=examples(
        "f2llm index 80M docs.jsonl --chroma db --collection papers",
        'f2llm search 80M "Which telescope?" --chroma db --collection papers',
        'eval "$(_F2LLM_COMPLETE=bash_source f2llm)"   # completion; also zsh_source, fish_source',
    ),
)
@click.version_option(__version__, prog_name="f2llm")
@debug_option
def main() -> None:
    """F2LLM-v2 embeddings from the command line.

    Results go to standard output, all else to standard error. Exit codes: 0 if all went well, 1 for
    an error, after Ctrl-C, or if what was examined is not right, 2 for a wrong command line.
    """


main.add_command(ask)
main.add_command(audit)
main.add_command(cache)
main.add_command(doctor)
main.add_command(eval_)
main.add_command(embed)
main.add_command(index)
main.add_command(info)
main.add_command(search)
