"""The public Python API: what ``import khotool`` offers, loaded when it is first used.

It opens the same inputs as the commands, and returns one typed object. Names and meanings change
only as those of the JSON documents do: they are added, never removed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from os import PathLike
from types import TracebackType
from typing import Any, Literal, Self

from khotool.abi.geometry import ByteOrder
from khotool.absent import Absent, Reason
from khotool.check.catalogue import Rule
from khotool.check.catalogue import find_rule as rule
from khotool.check.kernels.judge import judge
from khotool.check.kernels.verdict import Outcome, Verdict
from khotool.check.run import check_image
from khotool.diff.changes import Change, Comparison, DiffOptions
from khotool.diff.compare import compare
from khotool.errors import DefinitionError, EncodeError, InputError, KhotoolError, UsageError
from khotool.extract.plan import Plan
from khotool.extract.select import payload_plan, raw_plan
from khotool.extract.sparse import Collected, SparseFile
from khotool.extract.write import MissingError, Written, write_plan
from khotool.findings import Finding, Severity
from khotool.handlers import payload_of
from khotool.limits import Limits, OpenOptions, Progress
from khotool.memory.atomic import replacing
from khotool.model.image import Node, Phase
from khotool.model.lookup import find_node
from khotool.opening.load import load_image
from khotool.records import dataclass
from khotool.view.entries import Entry, Region
from khotool.view.folios import Folios
from khotool.view.image import ImageView
from khotool.view.keyed import Keyed
from khotool.view.luo import File, Flb, Luo, Session, Subsystem
from khotool.view.memory import HasPath, Memory, PageRange
from khotool.view.values import Record, Rows, Value

__all__ = [
    "Absent",
    "Change",
    "Comparison",
    "DefinitionError",
    "EncodeError",
    "Entry",
    "File",
    "Finding",
    "Flb",
    "Folios",
    "InputError",
    "Keyed",
    "KhotoolError",
    "Limits",
    "Luo",
    "Memory",
    "MissingError",
    "OpenImage",
    "Outcome",
    "PageRange",
    "Phase",
    "Plan",
    "Reason",
    "Record",
    "Region",
    "Rows",
    "Rule",
    "Session",
    "Severity",
    "Subsystem",
    "UsageError",
    "Value",
    "Verdict",
    "Written",
    "open",
    "rule",
]

MOST_BYTES = 1 << 30
"""Default of ``limit`` of ``OpenImage.read``, bytes."""
Fill = Literal["zero", "pattern"]


def open(
    path: str | PathLike[str],
    *,
    root: int | str | None = None,
    page_size: int | None = None,
    byteorder: ByteOrder | None = None,
    base: int | None = None,
    scratch: Sequence[tuple[int, int]] = (),
    debugfs: str | PathLike[str] | None = None,
    abi: Mapping[str, str | None] | None = None,
    formats: Iterable[str | PathLike[str]] = (),
    limits: Limits | None = None,
    progress: Progress | None = None,
) -> OpenImage:
    """Open a capture, a copy of debugfs, a full dump or a manifest, and decode it.

    Args:
        root: physical address of the KHO root, or the name of a tree in a copy of debugfs.
        page_size: bytes, if the capture does not record it.
        byteorder: of the kernel that wrote the image, if the capture does not record it.
        base: physical address of the first byte of a raw memory file.
        scratch: scratch areas as (physical address, bytes).
        debugfs: copy of /sys/kernel/debug/kho that was taken together with a memory image.
        abi: layout by definition id; None for the definition itself.
        formats: folders of further definitions.
        limits: bounds of the work; the default bounds suit any input.
        progress: called with the name of a step, the amount done, and the total if it is known.

    Raises:
        InputError: no such file, no known container, or no KHO root in it; says what was tried.
        UsageError: an option does not fit the capture.
        EncodeError: no image can be made of a full dump or manifest.
        DefinitionError: a definition in one of the folders has mistakes.
    """
    options = OpenOptions(
        root=root,
        page_size=page_size,
        byteorder=byteorder,
        base=base,
        scratch=list(scratch),
        debugfs=None if debugfs is None else str(debugfs),
        abi=dict(abi or {}),
        formats=[str(folder) for folder in formats],
        limits=limits or Limits(),
    )
    return OpenImage(load_image(path, options, progress))


@dataclass(frozen=True, repr=False)
class OpenImage(ImageView):
    """An open image: its handover, its findings and its bytes.

    As a context manager it closes the file.
    """

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file; what was decoded can still be used."""
        self.model.space.close()

    @cached_property
    def findings(self) -> tuple[Finding, ...]:
        """Findings of all rules, worst first."""
        return tuple(check_image(self.model))

    @property
    def errors(self) -> tuple[Finding, ...]:
        """Findings of severity ``error``."""
        return tuple(one for one in self.findings if rule(one.rule).severity is Severity.ERROR)

    def verdict(self, kernel: str) -> Verdict:
        """What a kernel would do with the image.

        Args:
            kernel: a release, such as ``7.3`` or ``7.3.4``.

        Raises:
            UsageError: khotool has no model of this release.
        """
        return judge(self.model, kernel)

    def diff(
        self,
        other: OpenImage,
        *,
        addresses: bool = False,
        pages: bool = False,
        contents: bool = False,
        only: Sequence[str] = (),
        ignore: Sequence[str] = (),
    ) -> Comparison:
        """What changed from this image to ``other``; see ``khotool diff``.

        Args:
            addresses: compare physical addresses, and how lists are laid out, too.
            pages: list preserved ranges of one image only.
            contents: compare payload too.
            only: paths; nothing else is reported.
            ignore: paths that are not reported, with all below them.

        Raises:
            UsageError: a path of ``only`` or ``ignore`` is in neither image.
        """
        options = DiffOptions(addresses, pages, contents, tuple(only), tuple(ignore))
        return compare(self.model, other.model, options)

    def plan(self, thing: HasPath | str, *, raw: bool = False) -> Plan:
        """Where in memory the payload of a file, region, entry or folio is, part by part.

        Args:
            thing: an object of this image, or a path.
            raw: the bytes of the record itself, instead of its payload.

        Raises:
            UsageError: nothing is at the path, or it has no payload; suggests what to name instead.
            InputError: the place of the payload could not be read.
        """
        node = self._node(thing)
        if raw:
            return raw_plan(self.model, node)
        return payload_of(self.model, node) or payload_plan(self.model, node)

    def read(
        self,
        thing: HasPath | str,
        *,
        raw: bool = False,
        fill: Fill | None = None,
        limit: int = MOST_BYTES,
    ) -> bytes:
        """The payload of a file, region, entry or folio; holes of a file are zeros.

        Args:
            fill: what to put where bytes are not captured; None raises instead.
            limit: most bytes to return.

        Raises:
            UsageError, InputError: as ``plan``; also a payload larger than ``limit``.
            MissingError: bytes are not captured, and ``fill`` is None; has their ranges.
        """
        plan = self.plan(thing, raw=raw)
        if plan.size > limit:
            raise InputError(f"{plan.path} has {plan.size} bytes, more than limit={limit}")
        sink = Collected()
        write_plan(plan, self.model.space, sink, fill)
        return sink.bytes()

    def extract(
        self,
        thing: HasPath | str,
        output: str | PathLike[str],
        *,
        raw: bool = False,
        fill: Fill | None = None,
    ) -> Written:
        """Write the payload to a file, which keeps its holes; all or nothing.

        Raises:
            UsageError, InputError, MissingError: as ``read``.
            KhotoolError: the file cannot be written.
        """
        plan = self.plan(thing, raw=raw)
        with replacing(output) as file:
            return write_plan(plan, self.model.space, SparseFile(file.fileno()), fill)

    def document(self) -> dict[str, Any]:
        """The document ``khotool.dump/1``, as ``khotool dump --json`` prints it."""
        from khotool.check.catalogue import count_by_severity
        from khotool.document.dump import dump_document

        return dump_document(self.model, count_by_severity(list(self.findings)))

    def _node(self, thing: HasPath | str) -> Node:
        node = None if isinstance(thing, str) else getattr(thing, "node", None)
        if isinstance(node, Node):
            return node
        return find_node(self.model, thing if isinstance(thing, str) else thing.path)
