"""Files of the running host, below a folder that is its root."""

from __future__ import annotations

import os
import re
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path

from khotool.memory.live import ReadAt
from khotool.records import dataclass, field

Opener = Callable[[Path, int], int]
"""Opens a file with flags of ``os.open``; returns its descriptor."""

TEXT_LIMIT = 16 << 20
"""Bytes of one text file that are read."""
CAPABILITIES = {1: "CAP_DAC_OVERRIDE", 17: "CAP_SYS_RAWIO", 21: "CAP_SYS_ADMIN"}
"""Capabilities that reading needs: for files of root, for memory, for addresses in /proc/iomem."""
DEBUGFS = "sys/kernel/debug"
CONFIGS = ("proc/config.gz", "boot/config-{}", "lib/modules/{}/config", "usr/lib/modules/{}/config")


@dataclass(slots=True)
class Host:
    """A host whose files are read, and never written.

    Args:
        root: its root folder; ``/`` for this host, elsewhere as a container mounts it.
        page_size: bytes, for memory that does not record its page size.
        opener: how memory files are opened.
    """

    root: Path = field(default_factory=lambda: Path("/"))
    page_size: int = field(default_factory=lambda: os.sysconf("SC_PAGE_SIZE"))
    opener: Opener = os.open

    def path(self, name: str) -> Path:
        """A file by its name relative to the root."""
        return self.root / name

    def exists(self, name: str) -> bool:
        """True if a file exists and this user may see it."""
        try:
            return self.path(name).exists()
        except OSError:
            return False

    def data(self, name: str, limit: int = TEXT_LIMIT) -> bytes | None:
        """Contents of a small file; None if it is missing or cannot be read."""
        try:
            with self.path(name).open("rb") as file:
                return file.read(limit)
        except (OSError, ValueError):
            return None

    def text(self, name: str) -> str | None:
        """Contents of a small text file; None if it is missing or cannot be read."""
        data = self.data(name)
        return None if data is None else data.decode("latin-1")

    def release(self) -> str | None:
        """The kernel's release as ``uname -r`` prints it."""
        text = self.text("proc/sys/kernel/osrelease")
        if text is None and self.root == Path("/"):
            return os.uname().release
        return text.strip() if text else None

    def config(self) -> tuple[str, dict[str, str]] | None:
        """The kernel's configuration: its file and its values; None where none is readable."""
        release = self.release() or ""
        if "/" in release or release in (".", ".."):
            return None
        for pattern in CONFIGS:
            if "{}" in pattern and not release:
                continue
            name = pattern.format(release)
            data = self.data(name)
            if data is None:
                continue
            text = _unpack(data) if name.endswith(".gz") else data
            values = dict(_options(text.decode("latin-1")))
            if values:
                return f"/{name}", values
        return None

    def command_line(self) -> list[str] | None:
        """Words of the kernel's command line, those for init left out."""
        text = self.text("proc/cmdline")
        if text is None:
            return None
        words = re.findall(r'(?:"[^"]*"|[^\s"])+', text[: 1 << 16])
        return words[: words.index("--")] if "--" in words else words

    def capabilities(self) -> set[str] | None:
        """Those of ``CAPABILITIES`` that this process has; None where that is not known."""
        match = re.search(
            r"^CapEff:\s*([0-9a-f]{1,16})$", self.text("proc/self/status") or "", re.M
        )
        if match is None:
            return None
        bits = int(match[1], 16)
        return {name for bit, name in CAPABILITIES.items() if bits >> bit & 1}

    def lockdown(self) -> str | None:
        """``none``, ``integrity`` or ``confidentiality``; None where that is not known."""
        match = re.search(r"\[(\w+)\]", self.text("sys/kernel/security/lockdown") or "")
        return match[1] if match else None

    def debugfs(self) -> str | None:
        """Where debugfs is mounted, relative to the root; None if it is not."""
        for line in (self.text("proc/self/mounts") or "").split("\n"):
            words = line.split(" ")
            if len(words) > 2 and words[2] == "debugfs":
                place = re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), words[1])
                name = place.strip("/")
                if ".." not in name.split("/") and self.exists(name):
                    return name
        return DEBUGFS if self.exists(f"{DEBUGFS}/kho") else None

    def open(self, name: str) -> tuple[ReadAt, Callable[[], None]]:
        """Open a file of memory: how it is read, and how it is closed.

        Raises:
            OSError: the kernel refuses.
        """
        handle = self.opener(self.path(name), os.O_RDONLY | os.O_CLOEXEC | os.O_NOCTTY)

        def read_at(length: int, offset: int) -> bytes:
            return os.pread(handle, length, offset)

        return read_at, lambda: os.close(handle)


def _unpack(data: bytes) -> bytes:
    try:
        return zlib.decompressobj(zlib.MAX_WBITS | 16).decompress(data, TEXT_LIMIT)
    except zlib.error:
        return b""


def _options(text: str) -> Iterator[tuple[str, str]]:
    """Options and their values; ``n`` for one that is not set."""
    for match in re.finditer(r"^(?:(CONFIG_\w+)=(.*)|# (CONFIG_\w+) is not set)$", text, re.M):
        yield (match[1], match[2]) if match[1] else (match[3], "n")


def switched_on(words: list[str], name: str) -> bool | None:
    """The value of ``NAME=on`` on a command line, as kstrtobool() reads it; the last one counts."""
    result = None
    for word in words:
        key, _, value = word.partition("=")
        if key == name:
            letters = value.strip('"').lower()
            on = letters[:1] in ("y", "t", "1") or letters[:2] == "on"
            off = letters[:1] in ("n", "f", "0") or letters[:2] == "of"
            result = True if on else False if off else result
    return result
