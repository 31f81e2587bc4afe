"""A headless Chromium, driven over its debugging protocol: open, look, click, photograph."""

import base64
import itertools
import json
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from websockets.sync.client import ClientConnection, connect

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
_START_SECONDS = 60
_LOOK_SECONDS = 180
_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--remote-debugging-port=0",
    "--window-size=1600,1000", "about:blank",
)  # fmt: skip

# The innermost visible element whose text or label is the wanted one, preferring what can be clicked.
_FIND = """
(wanted, selector) => {
    const seen = [...document.querySelectorAll(selector)].filter(element => {
        const box = element.getBoundingClientRect();
        return box.width > 0 && box.height > 0 && !element.disabled && element.getAttribute('aria-disabled') !== 'true';
    });
    const said = element => [element.innerText, element.getAttribute('aria-label')].map(text => (text || '').trim());
    const found = seen.filter(element => said(element).some(text => text === wanted))
        .concat(seen.filter(element => said(element).some(text => text.startsWith(wanted))));
    if (!found.length) return null;
    found[0].scrollIntoView({block: 'center'});
    const box = found[0].getBoundingClientRect();
    return [box.x + box.width / 2, box.y + box.height / 2];
}
"""


def installed() -> str | None:
    """Path of a Chromium, None when this machine has none."""
    return next(filter(None, map(shutil.which, NAMES)), None)


class Page:
    """The one tab of a browser."""

    def __init__(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._numbers = itertools.count(1)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """One command of the debugging protocol and its answer; events in between are passed over."""
        number = next(self._numbers)
        self._connection.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._connection.recv(timeout=60))
            if message.get("id") == number:
                assert "error" not in message, message
                return dict(message["result"])

    def open(self, address: str) -> None:
        self.command("Page.navigate", url=address)

    def evaluate(self, expression: str) -> Any:
        """Value of a JavaScript expression, None while a page is between documents."""
        return self.command("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    @property
    def text(self) -> str:
        """Everything the page shows, as text."""
        return self.evaluate("document.body ? document.body.innerText : ''") or ""

    def wait_for(self, *texts: str, seconds: float = _LOOK_SECONDS) -> None:
        """Until the page shows all of ``texts``."""
        deadline = time.monotonic() + seconds
        while missing := [text for text in texts if text not in self.text]:
            assert time.monotonic() < deadline, f"the page never showed {missing}; it shows:\n{self.text[:4000]}"
            time.sleep(0.3)

    def wait_until_gone(self, text: str, *, seconds: float = _LOOK_SECONDS) -> None:
        """Until the page no longer shows ``text``."""
        deadline = time.monotonic() + seconds
        while text in self.text:
            assert time.monotonic() < deadline, f"the page still shows {text!r}; it shows:\n{self.text[:4000]}"
            time.sleep(0.3)

    def click(
        self, label: str, *, selector: str = "button, a, [role=menuitem], [role=button]", seconds: float = _LOOK_SECONDS
    ) -> None:
        """A real click on the middle of what carries ``label``."""
        deadline = time.monotonic() + seconds
        while (place := self.evaluate(f"({_FIND})({json.dumps(label)}, {json.dumps(selector)})")) is None:
            assert time.monotonic() < deadline, f"nothing to click says {label!r}; the page shows:\n{self.text[:4000]}"
            time.sleep(0.3)
        for kind in ("mouseMoved", "mousePressed", "mouseReleased"):
            self.command("Input.dispatchMouseEvent", type=kind, x=place[0], y=place[1], button="left", clickCount=1)

    def photograph(self, path: Path) -> None:
        """The visible part of the page as PNG."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(base64.b64decode(self.command("Page.captureScreenshot", format="png")["data"]))


@contextmanager
def browser(executable: str) -> Iterator[Page]:
    """A browser with a profile of its own, closed and forgotten at the end."""
    with tempfile.TemporaryDirectory(prefix="tracemill-chromium-", ignore_cleanup_errors=True) as profile:
        process = subprocess.Popen(
            [executable, *_FLAGS, f"--user-data-dir={profile}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            address = _page_address(process, Path(profile))
            with connect(address, max_size=None, open_timeout=_START_SECONDS) as connection:
                page = Page(connection)
                page.command("Page.enable")
                yield page
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _page_address(process: subprocess.Popen[bytes], profile: Path) -> str:
    """Where the browser's first tab listens; Chromium writes its port into the profile."""
    port_file = profile / "DevToolsActivePort"
    deadline = time.monotonic() + _START_SECONDS
    while time.monotonic() < deadline:
        assert process.poll() is None, f"Chromium ended with status {process.returncode}"
        if port_file.exists() and len(lines := port_file.read_text().splitlines()) == 2:
            with connect(f"ws://127.0.0.1:{lines[0]}{lines[1]}", open_timeout=_START_SECONDS) as whole:
                whole.send(json.dumps({"id": 1, "method": "Target.getTargets"}))
                targets = json.loads(whole.recv(timeout=30))["result"]["targetInfos"]
            for target in targets:
                if target["type"] == "page":
                    return f"ws://127.0.0.1:{lines[0]}/devtools/page/{target['targetId']}"
        time.sleep(0.2)
    raise AssertionError("Chromium did not open a tab")
