"""Builds the site from what the repository holds, so that nothing is written twice.

Documents outside `docs/` become pages as they are, and the command line's page is filled with what
`--help` prints. Links say where a file stands in the repository; here they are turned to its page,
or into plain text where it has none.
"""

from __future__ import annotations

import logging
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path

import click
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

from f2llm_core.cli import main

ROOT = Path(__file__).resolve().parent.parent
#: What becomes part of the site, beside `docs/`; only the root's README moves, to be the start.
SHOWN = (
    "*.md",
    "benchmarks/**/*.md",
    "benchmarks/**/*.png",
    "examples/**/README.md",
    "examples/cookbook/pictures/*.png",
    "models/*/README.md",
    "packages/*/README.md",
)
COMMANDS = "<!-- commands -->"

_LINK = re.compile(r"(?P<text>!?\[[^\[\]]*\])\((?P<target>[^()\s]+)\)")
_log = logging.getLogger("mkdocs.hooks.f2llm")
_external: set[str] = set()


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the documents that stand elsewhere in the repository."""
    for pattern in SHOWN:
        for path in sorted(ROOT.glob(pattern)):
            place = path.relative_to(ROOT).as_posix()
            files.append(File.generated(config, _page_of(place), abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn the links, and put the commands where they are wanted."""
    pieces = re.split(r"(^```.*?^```$)", markdown, flags=re.DOTALL | re.MULTILINE)
    pieces[::2] = [_LINK.sub(lambda m: _turned(m, page, files), text) for text in pieces[::2]]
    return "".join(pieces).replace(COMMANDS, "\n".join(_commands(main, "f2llm")))


def on_post_build(config: MkDocsConfig) -> None:
    """List what is linked elsewhere, for whoever wants to see whether it is still there."""
    links = "".join(f"{link}\n" for link in sorted(_external))
    (Path(config.site_dir) / "external-links.txt").write_text(links, encoding="utf-8")


def _page_of(place: str) -> str:
    """Return the site's name for a place in the repository."""
    return "index.md" if place == "README.md" else place.removeprefix("docs/")


def _turned(link: re.Match[str], page: Page, files: Files) -> str:
    text, (target, hash_sign, anchor) = link["text"], link["target"].partition("#")
    if "://" in target or target.startswith("mailto:"):
        _external.add(link["target"])
        return link[0]
    if not target:  # an anchor of this page
        return link[0]
    here = Path(page.file.abs_src_path or "").relative_to(ROOT).parent.as_posix()
    place = posixpath.normpath(posixpath.join(here, target))
    for name in (_page_of(place), f"{_page_of(place)}/README.md"):
        if files.get_file_from_path(name) is not None:
            way = posixpath.relpath(name, posixpath.dirname(page.file.src_uri) or ".")
            return f"{text}({way}{hash_sign}{anchor})"
    if not (ROOT / place).exists():
        _log.warning("%s links to %s, which does not exist", page.file.src_uri, place)
    return text.strip("![]")


def _commands(
    command: click.Command, name: str, parent: click.Context | None = None
) -> Iterator[str]:
    """Yield a section for a command and for each one below it: what its `--help` prints."""
    settings = command.context_settings
    context = click.Context(command, parent, name, max_content_width=100, **settings)
    yield f"## `{context.command_path}`\n\n```text\n{command.get_help(context)}\n```\n"
    if isinstance(command, click.Group):
        for child in command.list_commands(context):
            yield from _commands(command.commands[child], child, context)
