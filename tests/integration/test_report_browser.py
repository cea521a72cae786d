"""The evaluation report in a real browser: desk and phone, light and dark, hostile texts in it.

    REPORT_SCREENSHOTS=shots python -m pytest tests/integration/test_report_browser.py

keeps the pictures in that folder, to be looked at.
"""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import re
import select
import shutil
import struct
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import evaluation_example
import pytest
from evaluation_example import make_example

from f2llm_core.evaluation.report import write_html

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "google-chrome"))), None)
FLAGS = (
    "--headless",
    "--no-sandbox",  # which a browser run by root cannot have
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
)
DESK, PHONE = (1280, 900), (390, 844)  # CSS pixels

#: Where to keep the pictures, if anywhere.
SCREENSHOTS = Path(os.environ["REPORT_SCREENSHOTS"]) if "REPORT_SCREENSHOTS" in os.environ else None

# Texts whose contrast with what is behind them is below WCAG's 4.5 : 1.
TOO_PALE = """
(() => {
  const parts = color => color.match(/[0-9.]+/g).map(Number);
  const luminance = color => {
    const [r, g, b] = parts(color).map(v => v / 255).map(
      v => v <= 0.04045 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = element => {
    for (let one = element; one; one = one.parentElement) {
      const color = getComputedStyle(one).backgroundColor;
      if (parts(color)[3] !== 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const found = [];
  const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  while (walker.nextNode()) {
    const text = walker.currentNode.data.trim(), element = walker.currentNode.parentElement;
    if (!text || !element.checkVisibility() || element.closest('style, script')) continue;
    const style = getComputedStyle(element);
    const drawn = element instanceof SVGElement ? style.fill : style.color;
    const [low, high] = [luminance(drawn), luminance(behind(element))].sort((a, b) => a - b);
    if ((high + 0.05) / (low + 0.05) < 4.5) found.push(text);
  }
  return found;
})()
"""

pytestmark = [
    pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed"),
    pytest.mark.timeout(300),  # a browser's start on a busy machine
]


class Browser:
    """Headless Chromium, driven by the DevTools protocol over two pipes: no port, no driver."""

    def __init__(self, profile: Path) -> None:
        commands, self._commands = os.pipe()
        self._answers, answers = os.pipe()
        # The browser reads its file 3 and writes its file 4; ours are moved out of their way.
        theirs = [fcntl.fcntl(end, fcntl.F_DUPFD, 10) for end in (commands, answers)]
        command = (CHROMIUM, *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-pipe")
        self._process = subprocess.Popen(
            ["bash", "-c", f'exec "$@" 3<&{theirs[0]} 4>&{theirs[1]}', "bash", *command],
            pass_fds=theirs,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        for end in (commands, answers, *theirs):
            os.close(end)
        self._unread = b""
        self._ids = itertools.count(1)
        self._session: str | None = None
        self.events: list[dict[str, Any]] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        attached = self.call("Target.attachToTarget", targetId=target, flatten=True)
        self._session = attached["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events that come before it are kept."""
        message: dict[str, Any] = {"id": next(self._ids), "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._commands, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._read()
            if answer.get("id") == message["id"]:
                assert "error" not in answer, f"{method}: {answer['error']}"
                return answer["result"]
            self.events.append(answer)

    def open(self, page: Path, size: tuple[int, int], scheme: str) -> None:
        """Show a file in a window of so many CSS pixels, and wait until it is loaded."""
        width, height = size
        self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if width < 500 else 1,
            mobile=width < 500,
        )
        feature = {"name": "prefers-color-scheme", "value": scheme}
        self.call("Emulation.setEmulatedMedia", features=[feature])
        self.events.clear()
        self.call("Page.navigate", url=page.as_uri())
        while not any(event["method"] == "Page.loadEventFired" for event in self.events):
            self.events.append(self._read())

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page."""
        answer = self.call("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def screenshot(self) -> bytes:
        """Return the whole page as a PNG."""
        shot = self.call("Page.captureScreenshot", captureBeyondViewport=True)
        return base64.b64decode(shot["data"])

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()
        os.close(self._commands)
        os.close(self._answers)

    def _read(self) -> dict[str, Any]:
        until = time.monotonic() + 60  # a guard; a passing test never waits so long
        while b"\0" not in self._unread:
            ready, _, _ = select.select([self._answers], [], [], max(0, until - time.monotonic()))
            assert ready, "the browser does not answer"
            more = os.read(self._answers, 1 << 20)
            assert more, "the browser ended"
            self._unread += more
        message, _, self._unread = self._unread.partition(b"\0")
        return json.loads(message)


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    browser = Browser(tmp_path_factory.mktemp("chromium"))
    try:
        yield browser
    finally:
        browser.close()


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_html(make_example(), path)
    return path


def complaints(browser: Browser, page: Path) -> list[str]:
    """What the open page said on the console or asked of anyone, and whether it is too wide."""
    found = []
    for event in browser.events:
        if event["method"] == "Network.requestWillBeSent":
            url = event["params"]["request"]["url"]
            if url != page.as_uri():
                found.append(f"asked for {url}")
        elif event["method"] in {
            "Log.entryAdded",
            "Runtime.consoleAPICalled",
            "Runtime.exceptionThrown",
        }:
            found.append(f"said {event['params']}")
    wide = browser.evaluate("document.documentElement.scrollWidth - innerWidth")
    if wide > 0:
        found.append(f"is {wide} pixels too wide")
    return found


@pytest.mark.parametrize(
    ("size", "scheme"),
    [(DESK, "light"), (DESK, "dark"), (PHONE, "light"), (PHONE, "dark")],
    ids=["desk-light", "desk-dark", "phone-light", "phone-dark"],
)
def test_the_page_is_quiet_and_fits(browser, page, size, scheme, request):
    browser.open(page, size, scheme)
    assert complaints(browser, page) == []
    assert browser.evaluate("document.title") == "Retrieval quality on packages"  # not taken over
    assert browser.evaluate("document.querySelectorAll('script').length") == 0
    assert browser.evaluate("innerWidth") == size[0]
    assert browser.evaluate(TOO_PALE) == []
    picture = browser.screenshot()
    width, height = struct.unpack(">II", picture[16:24])  # as the PNG's header has it
    assert width == size[0] * (2 if size == PHONE else 1)
    assert height > 2 * size[1]  # the whole page, not what the window shows
    if SCREENSHOTS is not None:
        SCREENSHOTS.mkdir(parents=True, exist_ok=True)
        (SCREENSHOTS / f"{request.node.callspec.id}.png").write_bytes(picture)


def test_light_and_dark_differ(browser, page):
    shades = {}
    for scheme in ("light", "dark"):
        browser.open(page, DESK, scheme)
        color = browser.evaluate("getComputedStyle(document.body).backgroundColor")
        shades[scheme] = max(int(part) for part in re.findall(r"\d+", color))
    assert shades["dark"] < 60
    assert shades["light"] > 200


def test_thirty_languages_scroll_in_their_box(browser, tmp_path, monkeypatch):
    languages = tuple(f"l{number:02}" for number in range(30))
    monkeypatch.setattr(evaluation_example, "LANGUAGES", languages)
    monkeypatch.setattr(evaluation_example, "_difficulty", lambda _: 0.1)
    page = tmp_path / "many.html"
    write_html(make_example(), page)
    browser.open(page, PHONE, "light")
    assert complaints(browser, page) == []
    box = "document.querySelector('.heat').parentElement"
    assert browser.evaluate(f"{box}.scrollWidth > 2 * {box}.clientWidth")
    browser.evaluate(f"{box}.scrollTo(1000, 300)")
    assert browser.evaluate(f"{box}.scrollLeft") == 1000
    for heading in ("tbody tr:nth-child(20) th", "thead th:nth-child(25)"):
        place = f"{box}.querySelector('{heading}').getBoundingClientRect()"
        edge = "left" if "tbody" in heading else "top"  # languages stay in sight
        assert browser.evaluate(f"{place}.{edge} - {box}.getBoundingClientRect().{edge}") == 0


def test_the_checks_see_what_they_are_for(browser, tmp_path):
    page = tmp_path / "loud.html"
    page.write_text(
        "<p style='width: 2000px; color: #999; background: #aaa'>wide and pale</p>"
        "<script>console.log('here'); undefined.x</script><link rel=stylesheet href=other.css>",
        encoding="utf-8",
    )
    browser.open(page, PHONE, "light")
    found = " ".join(complaints(browser, page))
    for complaint in ("other.css", "'here'", "exceptionDetails", "too wide"):
        assert complaint in found
    assert browser.evaluate(TOO_PALE) == ["wide and pale"]
