"""Boot a real kernel on an image, and say what came back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from khotool.errors import InputError
from khotool.lab import bridge
from khotool.lab.console import Line, Said, read_lines
from khotool.lab.cpio import Member
from khotool.lab.expect import Reference, can_ask, wanted_of
from khotool.lab.facts import Facts, read_facts
from khotool.lab.kernelfile import KernelFile
from khotool.lab.layout import beside
from khotool.lab.outcome import Expected, Judged, Outcome, SessionOutcome, judge
from khotool.lab.qemu import Run, Settings
from khotool.lab.ram import Ram
from khotool.lab.scenario import Scenario, initrd, retrieving
from khotool.lab.session import command_line, run_guest
from khotool.records import dataclass, field, replace

if TYPE_CHECKING:
    from khotool.model.image import Image

KHO = b"disabling KHO revival"
"""A text that every kernel with KHO has."""
CONSOLES = {
    "x86_64": (b"serial8250", "CONFIG_SERIAL_8250_CONSOLE"),
    "aarch64": (b"ttyAMA", "CONFIG_SERIAL_AMBA_PL011_CONSOLE"),
}


@dataclass(frozen=True, slots=True)
class Request:
    """What is booted, and how.

    Args:
        memory: bytes of RAM; None for what is needed.
        append: further words of the command line.
        initrd: the user's own; None for the agent alone.
        scrub: overwrite free memory before anything is taken back.
        scenario: for the agent, instead of taking back what is in the image.
        extra: further files of the agent's initrd.
    """

    settings: Settings = field(default_factory=Settings)
    memory: int | None = None
    append: str = ""
    initrd: bytes | None = None
    scrub: bool = True
    scenario: Scenario | None = None
    extra: tuple[Member, ...] = ()


@dataclass(slots=True)
class Booted:
    """A boot.

    Args:
        release: of the kernel; None where neither file nor console tells.
        prediction: the verdict of ``check --kernel``, as JSON has it; None where there is no
            model of this release.
        differences: where outcome and prediction differ: what it is about, predicted, actual.
        command_line: of the kernel.
        memory: bytes of RAM.
        changed: names of regions whose memory is not what it was.
    """

    image: str
    kernel: KernelFile
    judged: Judged
    facts: Facts
    run: Run
    release: str | None
    prediction: dict[str, Any] | None
    differences: list[tuple[str, str, str]]
    command_line: str
    memory: int
    changed: list[str]

    @property
    def predicted(self) -> str | None:
        """The outcome that ``check --kernel`` predicts."""
        return None if self.prediction is None else str(self.prediction["outcome"])

    @property
    def agree(self) -> bool | None:
        """Whether the prediction was right; None where there is none."""
        return None if self.prediction is None else not self.differences


def boot(
    image: Image, kernel: KernelFile, request: Request, reference: Reference | None = None
) -> Booted:
    """Boot a kernel on an image.

    Args:
        reference: whose contents should come back; the image's own if None.

    Raises:
        InputError: the kernel cannot be used, the image does not fit, QEMU does not run.
    """
    experiment = Experiment(image, kernel, request, reference)
    return experiment.conclude(*experiment.run())


class Experiment:
    """A boot of a kernel on an image, prepared; ``conclude`` also judges a run of long ago.

    Raises:
        InputError: the kernel cannot be used, or the image does not fit.
    """

    def __init__(
        self, image: Image, kernel: KernelFile, request: Request, reference: Reference | None
    ) -> None:
        require(kernel)
        refuse_other_machine(image, kernel)
        self.image, self.kernel, self.request = image, kernel, request
        self.wanted = wanted = wanted_of(image, reference or Reference(image), kernel)
        # Damage changes neither the machine nor where kexec has put the kernel.
        undamaged = reference.image if reference is not None and reference.same_layout else image
        self.memory = bridge.memory_of(undamaged)
        scenario = request.scenario or retrieving(
            wanted.contents.sessions, wanted.sizes, scrub=request.scrub, finish=True
        )
        self.files = initrd(kernel.machine, scenario, request.initrd, request.extra)
        self.layout = beside(self.memory, kernel, len(self.files), request.memory)
        words = wanted.region_words(image.geometry.page_size)
        self.line = command_line(kernel, *words, request.append)
        if request.scenario is not None:
            wanted.expected.sessions = []

    def run(self) -> tuple[Run, list[str]]:
        """Run the guest; also says which regions are not what they were.

        Raises:
            InputError: QEMU does not run.
        """
        changed: list[str] = []

        def before(ram: Ram) -> None:
            for address, data in self.wanted.filler:
                if ram.holds(address, len(data)):
                    ram.write(address, data)
            for address, data in bridge.read_pieces(self.image, bridge.captured(self.image)):
                _write(ram, address, data)

        def after(ram: Ram, _run: Run) -> None:
            changed.extend(changed_regions(self.image, ram, self.wanted.contents))

        settings = self.request.settings
        done = run_guest(
            self.kernel, self.files, self.line, self.layout, settings, before=before, after=after
        )
        return done, changed

    def conclude(self, run: Run, changed: list[str]) -> Booted:
        """Judge a run and compare it with the prediction."""
        own = self.request.initrd is not None
        expected = replace(self.wanted.expected)
        expected.changed_regions = [*expected.changed_regions, *changed]
        return conclude(self, run, expected, own, changed)


def conclude(
    experiment: Experiment, run: Run, expected: Expected, own: bool, changed: list[str]
) -> Booted:
    """Judge a run and compare it with the prediction.

    Args:
        own: the initrd is the user's own.
        changed: regions whose memory is not what it was.
    """
    image, kernel = experiment.image, experiment.kernel
    lines, facts = read_lines(run.console), read_facts(run.console)
    if not run.console:
        raise silent(kernel)
    if own and facts.release is None:
        # The user's own programs took over, which khotool knows nothing of.
        facts.ended = any(item.said is Said.RESTART for item in lines)
        expected.sessions = []
    revived = {item.name for item in lines if item.said is Said.REVIVED}
    expected.changed_regions = [name for name in expected.changed_regions if name in revived]
    judged = judge(run.end, lines, facts, expected)
    release = facts.release or _banner(lines) or kernel.release
    layout, filler = experiment.layout, experiment.wanted.filler
    banks = [(bank.start, bank.end) for bank in layout.banks]
    used = [*layout.used(), *((address, address + len(data)) for address, data in filler)]
    prediction = bridge.predict(image, release, banks, used) if release else None
    differences = [] if prediction is None else list(compare(prediction, judged))
    return Booted(
        *(image.info.path, kernel, judged, facts, run, release, prediction, differences),
        *(experiment.line, experiment.layout.size, changed),
    )


def _banner(lines: Sequence[Line]) -> str | None:
    """Release in the banner that the kernel prints; None if it did not come as far."""
    return next((item.name for item in lines if item.said is Said.BANNER), None)


def compare(prediction: dict[str, Any], judged: Judged) -> Iterator[tuple[str, str, str]]:
    """Where a prediction and what happened differ: what it is about, predicted, actual."""
    # A kernel that stops before its console is there is not heard to panic.
    stuck = judged.outcome is Outcome.HANG and prediction["outcome"] == "panic"
    if prediction["outcome"] != judged.outcome and not stuck:
        yield "outcome", str(prediction["outcome"]), str(judged.outcome)
    if judged.outcome in (Outcome.PANIC, Outcome.HANG, Outcome.IGNORE):
        return
    named: dict[str, Any] = {}
    for session in prediction["sessions"]:
        named.setdefault(session["name"], session)
    for found in judged.sessions:
        session = named.pop(found.name, None)
        if session is None:
            continue
        if session["retrieved"] != (found.result == "ok"):
            wanted = "ok" if session["retrieved"] else "not given back"
            yield f"session {found.name}", wanted, found.result
            continue
        yield from compare_files(session, found)


def compare_files(session: dict[str, Any], found: SessionOutcome) -> Iterator[tuple[str, str, str]]:
    """The same for the files of one session; a file that is not judged differs from nothing."""
    results = {file["token"]: file["result"] for file in reversed(session["files"])}
    for file in found.files:
        wanted = results.pop(f"{file.token:#x}", None)
        actual = file.contents if file.result == "ok" else file.result
        if wanted in (None, "not-judged") or actual == "not-captured":
            continue
        actual = "ok" if actual == "same" else str(actual)
        if wanted != actual:
            yield f"session {found.name} file {file.token:#x}", wanted, actual


def changed_regions(image: Image, ram: Ram, contents: bridge.Contents) -> Iterator[str]:
    """Names of regions whose memory is not what it was; they were given away."""
    for region in contents.regions:
        if not can_ask(region) or not region.start or not region.size:
            continue
        span = (region.start, region.start + region.size)
        with suppress(ValueError):
            for address, data in bridge.read_pieces(image, [span]):
                if ram.read(address, len(data)) != data:
                    yield region.name
                    break


def _write(ram: Ram, address: int, data: bytes) -> None:
    """Put captured bytes into RAM; the pages of zeros of a sparse file stay holes."""
    try:
        ram.write(address, data)
    except ValueError:
        raise InputError(
            f"the image has memory at {address:#x}, where this machine has none; raise --memory"
        ) from None


# -- kernels that cannot be used --------------------------------------------------------------


def require(kernel: KernelFile) -> None:
    """Refuse a kernel that cannot take a handover, or cannot say so.

    Raises:
        InputError: names the option that its configuration lacks.
    """
    text, option = CONSOLES[kernel.machine]
    if kernel.contains(KHO) is False:
        raise InputError(f"{kernel.path}: no kexec handover; build it with CONFIG_KEXEC_HANDOVER=y")
    if kernel.contains(text) is False:
        raise InputError(f"{kernel.path}: no serial console; build it with {option}=y")


def silent(kernel: KernelFile) -> InputError:
    """The error for a kernel that said nothing at all."""
    _, option = CONSOLES[kernel.machine]
    return InputError(
        f"{kernel.path}: said nothing on its serial console; build it with {option}=y and "
        "CONFIG_PRINTK=y"
    )


def refuse_other_machine(image: Image, kernel: KernelFile) -> None:
    """Refuse an image of another machine, or of pages of another size.

    Raises:
        InputError: says both.
    """
    machine = bridge.machine_of(image)
    if machine not in (None, kernel.machine.value):
        raise InputError(
            f"{image.info.path}: of {machine}, but {kernel.path} is of {kernel.machine}"
        )
    page = image.geometry.page_size
    if kernel.page_size not in (None, page):
        raise InputError(
            f"{image.info.path}: pages of {page} bytes, but {kernel.path} has pages of "
            f"{kernel.page_size}"
        )
    if image.geometry.byteorder != "little":
        raise InputError(f"{image.info.path}: big-endian, but {kernel.path} is little-endian")
