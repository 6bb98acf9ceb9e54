"""What of the running host can be read; for what cannot, why it matters and how to fix that."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Literal

from khotool.errors import InputError
from khotool.host.files import CAPABILITIES, Host, switched_on
from khotool.memory.debugfs import DebugfsCopy, open_directory
from khotool.memory.kcore import open_devmem, open_kcore, system_ram
from khotool.memory.live import LiveSpace
from khotool.memory.space import SourceInfo
from khotool.records import dataclass, field

State = Literal["ok", "missing", "unknown", "unused"]

KCORE, DEVMEM = "proc/kcore", "dev/mem"
ROOT_USER = "run khotool as root, such as: sudo khotool live"
BUILD = "boot a kernel built with CONFIG_KEXEC_HANDOVER_DEBUGFS=y (up to 6.18 CONFIG_DEBUG_FS=y)"
"""How to get KHO into debugfs."""


@dataclass(frozen=True, slots=True)
class Check:
    """One thing that reading a running host may need.

    Args:
        name: stable, for scripts.
        title: for people.
        state: ``missing`` if it is known to be absent; ``unused`` if nothing needs it here.
        found: what was found, in a few words.
        why: what it is needed for; empty where the state is ``ok``.
        remedy: how to get it; empty where the state is ``ok``.
    """

    name: str
    title: str
    state: State
    found: str
    why: str = ""
    remedy: str = ""


@dataclass(slots=True)
class Survey:
    """Everything that could be opened on a host, and every check.

    Args:
        release: of the running kernel; untrusted text, None where it is not known.
        copy: the trees in debugfs, read once; None without any.
        space: memory; None where the kernel gives none.
        state: text of /sys/kernel/liveupdate/state, which LUO v1 to v3 had; None elsewhere.
        sources: names of what is read.
    """

    host: Host
    release: str | None
    checks: list[Check] = field(default_factory=list)
    copy: DebugfsCopy | None = None
    space: LiveSpace | None = None
    state: str | None = None
    sources: list[str] = field(default_factory=list)

    def missing(self) -> list[Check]:
        """Checks that are known to have failed, in the order in which to fix them."""
        return [check for check in self.checks if check.state == "missing"]


def survey(host: Host, debugfs: str | None = None, *, memory: bool = True) -> Survey:
    """Look at a host: its settings, then debugfs, then memory. Nothing is written or changed.

    Args:
        debugfs: folder to read instead of ``kho`` in the host's debugfs.
        memory: False to leave memory alone.
    """
    result = Survey(host, host.release())
    _kernel(result)
    first = len(result.checks)
    _debugfs(result, debugfs)
    _memory(result, memory)
    result.checks[first:first] = _privileges(result)
    state = host.text("sys/kernel/liveupdate/state")
    result.state = state[:64].strip() if state else None
    opened = [source.info for source in (result.copy, result.space) if source is not None]
    result.sources.extend(info.path for info in opened)
    if opened:
        # Both are read as one image, whose facts are those of its memory if there is any.
        info = opened[-1]
        info.notes += [text for other in opened[:-1] for text in other.notes]
        info.path = " and ".join(result.sources)
        info.osrelease = info.osrelease or result.release
        info.page_size = info.page_size or host.page_size
    return result


MEMORY = "sessions, files and the map of preserved pages are only in memory"
CHECKS = {
    "kernel": (
        "KHO in the kernel",
        "a kernel without it hands over nothing",
        "boot a kernel from 6.16 on, built with CONFIG_KEXEC_HANDOVER=y",
    ),
    "kho": (
        "KHO switched on",
        "without it the kernel sets nothing aside to hand over",
        "add kho=on to the kernel's command line, and boot again",
    ),
    "liveupdate": (
        "live update",
        "only a kernel with it has sessions; others hand over only their own entries",
        "CONFIG_LIVEUPDATE=y (from 6.19 on), and liveupdate=on on the command line",
    ),
    "privileges": (
        "privileges",
        "debugfs is for root, and memory needs CAP_SYS_RAWIO",
        ROOT_USER,
    ),
    "lockdown": (
        "kernel lockdown",
        "confidentiality closes /proc/kcore and /dev/mem, integrity /dev/mem",
        "nothing, unless memory is refused",
    ),
    "debugfs": (
        "debugfs",
        "the kernel shows root and entries of a handover there",
        "mount -t debugfs none /sys/kernel/debug (needs CONFIG_DEBUG_FS=y)",
    ),
    "trees": ("KHO in debugfs", "the root and the entries are found through it", BUILD),
    "kcore": ("/proc/kcore", MEMORY, ""),
    "devmem": ("/dev/mem", MEMORY, ""),
}
"""Checks by name: title, what each is needed for, and the usual way to get it."""


def _check(name: str, state: State, found: str, remedy: str = "") -> Check:
    title, why, usual = CHECKS[name]
    if state == "ok":
        return Check(name, title, state, found)
    return Check(name, title, state, found, why, remedy or usual)


def _kernel(result: Survey) -> None:
    known = result.host.config()
    where, options = known or ("", {})
    value = options.get("CONFIG_KEXEC_HANDOVER")
    state: State = "ok" if value == "y" else "missing"
    found = f"CONFIG_KEXEC_HANDOVER{'=y' if value == 'y' else ' is not set'} in {where}"
    if known is None:
        state = "unknown"
        found = "no configuration of this kernel in /proc/config.gz, /boot or /lib/modules"
    words = result.host.command_line()
    result.checks += [
        _check("kernel", state, found),
        _switch(words, options),
        _live_update(result.host, words),
    ]


def _switch(words: list[str] | None, options: dict[str, str]) -> Check:
    """Whether KHO is switched on, by the command line or by the configuration."""
    if words is None:
        return _check("kho", "unknown", "/proc/cmdline cannot be read")
    on = switched_on(words, "kho")
    if on is None and options.get("CONFIG_KEXEC_HANDOVER_ENABLE_DEFAULT") == "y":
        on = True
    found = "on" if on else "the command line has no kho=on" if on is None else "kho=off"
    return _check("kho", "ok" if on else "missing", found)


def _live_update(host: Host, words: list[str] | None) -> Check:
    """Whether there is a live update orchestrator."""
    # The device is not opened: only one process at a time may have it open.
    device = host.exists("dev/liveupdate")
    there = device or host.exists("sys/kernel/liveupdate")
    found = "/dev/liveupdate exists" if device else "no /dev/liveupdate"
    if there and not device:
        found += ", but /sys/kernel/liveupdate exists"
    if not there and words is not None and switched_on(words, "liveupdate"):
        found += ", although the command line has liveupdate=on"
    return _check("liveupdate", "ok" if there else "unused", found)


def _privileges(result: Survey) -> Iterator[Check]:
    host = result.host
    have = host.capabilities()
    lacking = [] if have is None else [name for name in CAPABILITIES.values() if name not in have]
    if result.copy is not None and result.space is not None:
        yield _check("privileges", "ok", "debugfs and memory can be read")
    elif have is None:
        yield _check("privileges", "unknown", "not known")
    elif lacking:
        yield _check("privileges", "missing", f"without {', '.join(lacking)}")
    else:
        yield _check("privileges", "ok", "all that are needed")
    level = host.lockdown()
    if level == "confidentiality":
        remedy = "boot without lockdown=confidentiality; debugfs still shows trees and entries"
        yield _check("lockdown", "missing", level, remedy)
    else:
        found = level or "/sys/kernel/security/lockdown cannot be read"
        yield _check("lockdown", "ok" if level else "unknown", found)


def _debugfs(result: Survey, folder: str | None) -> None:
    host = result.host
    place = host.debugfs()
    if folder is None:
        found = f"/{place}" if place else "not mounted"
        result.checks.append(_check("debugfs", "ok" if place else "missing", found))
    found, remedy = _read_trees(result, folder or (str(host.path(f"{place}/kho")) if place else ""))
    state: State = "missing" if result.copy is None else "ok"
    result.checks.append(_check("trees", state, found, remedy))


def _read_trees(result: Survey, folder: str) -> tuple[str, str]:
    """Read the trees; what was found, and how to get them if there are none."""
    if not folder:
        return "debugfs is not mounted", "mount it, and look again"
    try:
        copy = open_directory(folder)
    except InputError:
        pass
    else:
        if any(tree.fdt or tree.subtrees for tree in copy.trees):
            result.copy = copy
            names = [tree.name for tree in copy.trees if tree.fdt or tree.subtrees]
            return f"{folder}: {' and '.join(names)}", ""
        if any(tree.finalized is False for tree in copy.trees):
            return (
                f"{folder} has no fdt yet",
                f"up to 6.18 the handover is there once it is finalized: echo 1 > {folder}"
                "/out/finalize",
            )
        return f"{folder} has neither fdt nor sub_fdts", BUILD
    try:
        os.stat(folder)
    except PermissionError:
        return f"{folder} cannot be read by this user", ROOT_USER
    except OSError:
        return f"no {folder}", f"{BUILD}; see also: dmesg | grep KHO"
    return f"{folder} cannot be read or is empty", ROOT_USER


def _memory(result: Survey, wanted: bool) -> None:
    if not wanted:
        result.checks.append(Check("kcore", "/proc/kcore", "unused", "memory is not read"))
        return
    result.checks.append(_check("kcore", *_try(result, KCORE)))
    if result.space is not None:
        result.checks.append(Check("devmem", "/dev/mem", "unused", "/proc/kcore is read instead"))
        return
    result.checks.append(_check("devmem", *_try(result, DEVMEM)))


def _try(result: Survey, name: str) -> tuple[State, str, str]:
    """Open memory; the state, what was found, and how to get what is missing."""
    try:
        result.space = _open(result.host, name)
    except InputError as error:
        return "missing", str(error), "none: this file holds no usable memory"
    except OSError as error:
        return "missing", error.strerror or str(error), _refusal(result, name, error)
    table = result.space.extents()
    amount = int((table[:, 1] - table[:, 0]).sum())
    return "ok", f"{amount >> 20} MiB in {len(table)} ranges", ""


def _refusal(result: Survey, name: str, error: OSError) -> str:
    known = result.host.config()
    options = known[1] if known else {}
    option = "CONFIG_PROC_KCORE" if name == KCORE else "CONFIG_DEVMEM"
    if error.errno in (errno.ENOENT, errno.ENXIO, errno.ENODEV):
        text = (
            f"{option} is not set in {known[0]}; " if known and options.get(option) == "n" else ""
        )
        return f"{text}a kernel built with {option}=y has it"
    if error.errno not in (errno.EPERM, errno.EACCES):
        return "the kernel gives no reason; see dmesg"
    level = result.host.lockdown()
    if level == "confidentiality" or (level == "integrity" and name == DEVMEM):
        return f"the kernel is locked down ({level}); boot without lockdown={level}"
    have = result.host.capabilities()
    if error.errno == errno.EACCES or (have is not None and "CAP_SYS_RAWIO" not in have):
        return ROOT_USER
    if name == DEVMEM:
        return "CONFIG_STRICT_DEVMEM hides RAM from /dev/mem; use /proc/kcore"
    return "CAP_SYS_RAWIO counts only in the initial user namespace: run khotool on the host"


def _open(host: Host, name: str) -> LiveSpace:
    """A file of the host's memory: of /proc/kcore, or of /dev/mem, which needs /proc/iomem."""
    read_at, release = host.open(name)
    info = SourceInfo(str(host.path(name)), "live")
    try:
        if name == KCORE:
            return open_kcore(info, read_at, page_size=host.page_size, release=release)
        ram = system_ram(host.text("proc/iomem") or "")
        return open_devmem(info, read_at, ram, page_size=host.page_size, release=release)
    except BaseException:
        release()
        raise
