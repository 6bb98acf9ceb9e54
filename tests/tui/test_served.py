"""The program in a browser: headless Chromium types, and what it is sent back is read."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.tui.conftest import CAPTURE

aiohttp = pytest.importorskip("aiohttp", reason="khotool[serve] is not installed")
pytest.importorskip("textual_serve", reason="khotool[serve] is not installed")
CHROMIUM = shutil.which("chromium")
BINARY = 2
"""Frames with what the program writes to its terminal."""
CONTROLS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
PATIENCE = 20.0
"""Seconds until something must have come."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def running(*command: str, folder: Path) -> Iterator[None]:
    """A program with its output in a file, ended with all that it started."""
    with (folder / "output").open("wb") as output:
        child = subprocess.Popen(
            command,
            stdout=output,
            stderr=output,
            env={**os.environ, "XDG_STATE_HOME": str(folder)},
        )
        try:
            yield
        finally:
            child.terminate()
            try:
                child.wait(10)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


class Browser:
    """A page of a browser, by the protocol of its developer tools."""

    def __init__(self, tools: Any) -> None:
        self.tools = tools
        self.number = 0
        self.seen = ""

    async def send(self, method: str, **params: object) -> None:
        self.number += 1
        await self.tools.send_json({"id": self.number, "method": method, "params": params})

    async def wait_for(self, text: str) -> None:
        """Wait until the program has written a text."""
        try:
            await asyncio.wait_for(self._receive(text), PATIENCE)
        except TimeoutError:
            raise AssertionError(f"no {text!r} in {self.seen[-3000:]!r}") from None

    async def _receive(self, text: str) -> None:
        while text not in self.seen:
            message = json.loads((await self.tools.receive()).data)
            frame = message.get("params", {}).get("response", {})
            if frame.get("opcode") == BINARY:
                data = base64.b64decode(frame["payloadData"])
                self.seen += CONTROLS.sub("", data.decode("utf-8", "replace"))

    async def press(self, key: str) -> None:
        for kind in ("keyDown", "keyUp"):
            text = {"text": key} if kind == "keyDown" else {}
            await self.send("Input.dispatchKeyEvent", type=kind, key=key, **text)

    async def click(self, x: int, y: int) -> None:
        for kind in ("mousePressed", "mouseReleased"):
            place = {"x": x, "y": y, "button": "left", "clickCount": 1}
            await self.send("Input.dispatchMouseEvent", type=kind, **place)


@asynccontextmanager
async def browser(port: int, url: str) -> AsyncIterator[Browser]:
    """The page that Chromium opened, once it listens; then ``url`` in it."""
    async with aiohttp.ClientSession() as client:
        async with asyncio.timeout(PATIENCE):
            while True:
                try:
                    async with client.get(f"http://127.0.0.1:{port}/json/list") as answer:
                        pages = [p for p in await answer.json() if p["type"] == "page"]
                    async with client.get(url) as answer:
                        ready = answer.status == 200
                    if pages and ready:
                        break
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)
        async with client.ws_connect(pages[0]["webSocketDebuggerUrl"], max_msg_size=0) as tools:
            page = Browser(tools)
            await page.send("Network.enable")
            await page.send("Page.navigate", url=url)
            yield page


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
def test_typing_in_a_browser(tmp_path: Path) -> None:
    """Keys of the browser reach the program: g opens Goto, which takes a path."""
    assert CHROMIUM is not None
    served, tools = free_port(), free_port()
    server = (sys.executable, "-m", "khotool", "tui", str(CAPTURE), "--serve", str(served))
    window = (
        CHROMIUM,
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        f"--user-data-dir={tmp_path / 'profile'}",
        f"--remote-debugging-port={tools}",
        "about:blank",
    )

    async def story() -> None:
        async with browser(tools, f"http://127.0.0.1:{served}/") as page:
            await page.wait_for("KHO root")
            await page.wait_for("no finding")
            await page.click(300, 200)
            await page.press("g")
            await page.wait_for("Go to")
            for key in "kexec-m":
                await page.press(key)
            await page.wait_for("kexec-metadata/version")

    (tmp_path / "server").mkdir()
    with running(*server, folder=tmp_path / "server"), running(*window, folder=tmp_path):
        asyncio.run(story())
