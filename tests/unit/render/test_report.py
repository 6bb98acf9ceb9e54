"""The HTML report: complete in itself, safe, and a picture in a browser."""

from __future__ import annotations

import shutil
import struct
import subprocess
import zlib
from html.parser import HTMLParser
from pathlib import Path

import pytest

from khotool.cli.main import main

FIXTURES = Path(__file__).parents[3] / "fixtures"
GOOD = str(FIXTURES / "real" / "linux-7.3.4" / "image.elf.xz")
CHROMIUM = shutil.which("chromium")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--hide-scrollbars",
    "--window-size=800,700",
)
VOID = {"meta", "rect"}


class Balanced(HTMLParser):
    """Checks that tags nest, and collects addresses and text."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.links: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.links += [value or "" for name, value in attrs if name in ("src", "href")]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag == "rect":
            return
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def report(tmp_path: Path, *arguments: str) -> str:
    page = tmp_path / "report.html"
    assert main(["report", *arguments, "-o", str(page)]) == 0
    return page.read_text(encoding="utf-8")


def test_page_is_complete_in_itself(tmp_path: Path) -> None:
    """No script, no link, nothing loaded; sessions, memory and verdict are on the page."""
    html = report(tmp_path, GOOD, "--kernel", "7.3")
    parsed = Balanced()
    parsed.feed(html)
    text = " ".join(parsed.text)

    assert parsed.open == []
    assert parsed.links == []
    assert "<script" not in html
    assert "url(" not in html
    for word in ("vm-alpha", "F_SEAL_SHRINK", "Physical memory", "kernel 7.3: accept"):
        assert word in text


def test_names_are_inert(tmp_path: Path) -> None:
    """Markup and controls in a session name are text on the page."""
    recipe = tmp_path / "hostile.toml"
    recipe.write_text('abi = "7.3"\n[[session]]\nname = "<script>\\u001b[31m&"\n')
    image = tmp_path / "hostile.elf"
    assert main(["encode", str(recipe), "-o", str(image)]) == 0
    html = report(tmp_path, str(image))

    assert "<script>" not in html
    assert "&lt;script&gt;" in html
    assert "\x1b" not in html


def test_leaks_and_lost_pages_have_their_colours(tmp_path: Path) -> None:
    """A damaged image shows preserved pages without an owner and references that dangle."""
    html = report(tmp_path, str(FIXTURES / "verdicts" / "folio-pfn-unpreserved" / "image.elf.xz"))

    assert "preserved, no owner" in html
    assert "referenced, not preserved" in html
    assert 'class="fill lost"' in html


@pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed")
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_page_is_a_picture(tmp_path: Path, scheme: str) -> None:
    """Headless Chromium draws it: many colours, on paper of the scheme's own."""
    report(tmp_path, GOOD)
    picture = tmp_path / "report.png"
    dark = ("--blink-settings=preferredColorScheme=0",) if scheme == "dark" else ()
    assert CHROMIUM is not None
    subprocess.run(
        [
            CHROMIUM,
            *FLAGS,
            *dark,
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--screenshot={picture}",
            (tmp_path / "report.html").as_uri(),
        ],
        check=True,
        capture_output=True,
        timeout=60,
    )
    pixels = png_pixels(picture.read_bytes())

    assert len(set(pixels)) > 5
    assert (sum(pixels[0]) < 200) == (scheme == "dark")


def png_pixels(data: bytes) -> list[tuple[int, int, int]]:
    """Every 97th pixel of an RGB or RGBA picture, through the filters of its rows."""
    width, height, _, kind = struct.unpack_from(">IIBB", data, 16)
    step = {2: 3, 6: 4}[kind]
    at, packed = 8, b""
    while at < len(data):
        size, name = struct.unpack_from(">I4s", data, at)
        packed += data[at + 8 : at + 8 + size] if name == b"IDAT" else b""
        at += size + 12
    raw = zlib.decompress(packed)
    row = width * step
    before = bytearray(row)
    pixels: list[tuple[int, int, int]] = []
    for line in range(height):
        start = line * (row + 1)
        now = bytearray(raw[start + 1 : start + 1 + row])
        unfilter(raw[start], now, before, step)
        before = now
        if line % 16 == 0:
            pixels += [(now[i], now[i + 1], now[i + 2]) for i in range(0, row - step, step * 97)]
    return pixels


def unfilter(kind: int, now: bytearray, before: bytearray, step: int) -> None:
    """Undo the filter of one row of a PNG."""
    for i in range(len(now)):
        left = now[i - step] if i >= step else 0
        up = before[i]
        corner = before[i - step] if i >= step else 0
        near = min((left, up, corner), key=lambda v: abs(left + up - corner - v))
        add = (0, left, up, (left + up) // 2, near)[kind]
        now[i] = (now[i] + add) & 0xFF


def test_unknown_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Bytes that no definition explains are no sizes, and no bug."""
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(
        'abi = "7.3"\n[[reserve_mem]]\nname = "trace"\nsize = "2M"\nalign = "2M"\n'
        '[[session]]\nname = "vm"\n[[session.file]]\ntoken = 1\nsize = "16K"\n'
    )
    image, page = tmp_path / "image.elf", tmp_path / "page.html"
    assert main(["encode", str(recipe), "-o", str(image)]) == 0
    data = image.read_bytes()
    assert b"reserve-mem-v1\0" in data
    image.write_bytes(data.replace(b"reserve-mem-v1\0", b"reserve-mem-v9\0"))
    assert main(["report", str(image), "-o", str(page)]) == 0, capsys.readouterr().err
    assert "trace" in page.read_text("utf-8")
