"""One function per boundary: any bytes give a result or a declared error, and nothing else.

An exception of another kind, and an AssertionError of what a target promises, is a fault.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable
from contextlib import suppress
from itertools import islice
from pathlib import Path
from typing import Any

from khotool.abi.btf import Btf
from khotool.abi.compare_btf import compare_set
from khotool.abi.geometry import Geometry
from khotool.abi.load import load_definition, load_sets
from khotool.abi.registry import load_registry
from khotool.check.kernels.judge import judge
from khotool.check.run import check_image
from khotool.diff.changes import DiffOptions
from khotool.diff.compare import compare
from khotool.encode.document import full_document, metadata_pages, preserved_segments
from khotool.encode.fresh import build_fresh
from khotool.encode.from_image import handover_of
from khotool.encode.read_model import build_model, image_of, read_model
from khotool.encode.segments import page_segments
from khotool.encode.sets import set_of
from khotool.errors import KhotoolError
from khotool.extract.plan import Plan
from khotool.extract.select import payload_plan, raw_plan
from khotool.fdt.blob import FdtError
from khotool.fdt.dts import to_dts
from khotool.fdt.header import check
from khotool.fdt.parse import parse
from khotool.fdt.write import emit, gaps
from khotool.image.model import Image
from khotool.image.open import OpenOptions, open_image
from khotool.image.path import parse_path
from khotool.memory.elf import open_elf
from khotool.memory.kdump import open_kdump
from khotool.memory.lime import open_lime
from khotool.memory.source import open_source
from khotool.memory.space import ADDRESS_LIMIT, AddressSpace, MemoryFault, SourceInfo
from khotool.render.document import dump_document
from khotool.render.json import json_chunks
from khotool.render.severity import findings_of
from khotool.render.tree import TreeOptions, tree_lines
from tests.builders import REGISTRY
from tests.fuzz.damage import LIMITS, damaged

Target = Callable[[bytes], None]

DECLARED: tuple[type[Exception], ...] = (KhotoolError, FdtError)
KERNELS = ("6.17", "6.19", "7.1", "7.3")
#: A compressed file or a model may ask for this much.
MOST_BYTES = 32 << 20
SHOWN = 2000


def fdt(data: bytes) -> None:
    """A blob is read as far as possible; a complete one is written back byte for byte."""
    blob = parse(data)
    check(blob)
    to_dts(blob)
    if blob.complete:
        assert emit(blob, gaps(blob)) == blob.data


def elf(data: bytes) -> None:
    """An ELF core of memory."""
    look_around(open_elf(SourceInfo("fuzz", "elf"), memoryview(data), _nothing))


def kdump(data: bytes) -> None:
    """A kdump-compressed dump, flattened or not."""
    look_around(open_kdump(SourceInfo("fuzz", "kdump"), memoryview(data), _nothing))


def lime(data: bytes) -> None:
    """A LiME file."""
    look_around(open_lime(SourceInfo("fuzz", "lime"), memoryview(data), _nothing))


def _nothing() -> None:
    return


def look_around(space: AddressSpace) -> None:
    """Every kind of access to memory, at its ends and across its holes."""
    extents = space.extents()
    rows = extents[:: max(1, len(extents) // 8)].tolist()
    for start, end in rows:
        assert start < end
        size = min(end - start, 4096)
        for address in (start, end - size, end - 1, max(start - 8, 0)):
            with suppress(MemoryFault):
                assert len(space.read(address, size)) == size
        assert space.known(start, size)[0][0] == start
        list(
            islice(space.find(b"\xd0\x0d\xfe\xed", start, min(end, start + (1 << 20)), 1 << 20), 9)
        )
    space.gather(extents[:100, 0], 8)
    for _ in islice(space.first_words(4096), 100):
        pass
    with suppress(MemoryFault):
        space.read(ADDRESS_LIMIT - 16, 15)
    space.close()


def opened(data: bytes) -> None:
    """A file of any kind as a user gives it, compressed or not, and what is decoded of it."""
    with tempfile.NamedTemporaryFile(prefix="khotool-fuzz-") as file:
        file.write(data)
        file.flush()
        source = open_source(file.name, limit=MOST_BYTES)
        if isinstance(source, AddressSpace):
            look_around(source)
        image = open_image(file.name, OpenOptions(limits=LIMITS))
    show(image)
    check_image(image)


def definition(data: bytes) -> None:
    """A file of definitions, and of sets."""
    for load in (load_definition, load_sets):
        with suppress(KhotoolError):
            load(data, "fuzz")
    loaded = load_definition(data, "fuzz")
    for name in loaded.structs:
        with suppress(KhotoolError):
            REGISTRY.compile(loaded, name, Geometry(4096))


def definitions_folder(data: bytes) -> None:
    """A folder of definitions beside the own ones."""
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        (Path(folder) / "fuzz.toml").write_bytes(data)
        load_registry([folder])


def manifest(data: bytes) -> None:
    """A model that a user wrote, TOML or JSON: built, and what is built decodes."""
    with tempfile.TemporaryDirectory(prefix="khotool-fuzz-") as folder:
        path = Path(folder) / "model"
        path.write_bytes(data)
        model = read_model(path)
        if wants_much(model.document):
            return
        built = build_model(model, REGISTRY)
        page_segments(built.segments, built.geometry.page_size)
        show(image_of(built, REGISTRY))


def wants_much(model: dict[str, Any]) -> bool:
    """Whether a model asks for more than is made in the time of one input.

    Making what its author asks for is no fault, however long it takes.
    """
    left: list[Any] = [model]
    while left:
        item = left.pop()
        if isinstance(item, list):
            left += item
        elif isinstance(item, dict):
            left += item.values()
            sizes = [str(item.get(key, 0)) for key in ("size", "align", "page_size")]
            if any(len(size) > 8 or size.endswith(("M", "G", "T")) for size in sizes):
                return True
    return False


def document(data: bytes) -> None:
    """The document of ``dump --json --full``."""
    try:
        read = json.loads(data)
    except (ValueError, RecursionError):
        return
    if not isinstance(read, dict) or not wants_much(read):
        preserved_segments(read, REGISTRY)


def path(data: bytes) -> None:
    """A path expression; every step comes back from its text."""
    parse_path(data.decode("utf-8", "surrogateescape"))


def btf(data: bytes) -> None:
    """A BTF section, compared with every set."""
    section = Btf(data)
    for name in section.structs:
        section.struct(name)
    for abi in REGISTRY.sets.values():
        compare_set(section, abi, REGISTRY, Geometry(4096))


def image_dump(data: bytes) -> None:
    """A damaged capture as text and as JSON."""
    show(damaged(data))


def show(image: Image) -> None:
    """Everything that ``dump`` can print."""
    made = dump_document(image, findings_of(image))
    for _ in json_chunks(made):
        pass
    for _ in tree_lines(image, image.tree, TreeOptions(None, 4, True)):
        pass


def image_check(data: bytes) -> None:
    """A damaged capture: owners of its pages, and every rule."""
    image = damaged(data)
    image.ownership()
    check_image(image)


def image_full(data: bytes) -> None:
    """A damaged capture as a full document: every captured page of metadata comes back."""
    image = damaged(data)
    read = json.loads(json.dumps(full_document(image)))
    segments, geometry, _ = preserved_segments(read, REGISTRY)
    assert geometry == image.geometry
    pages = {address: bytes(made) for address, made in segments}
    for start, end in metadata_pages(image).tolist():
        with suppress(MemoryFault):
            assert pages[start] == bytes(image.space.read(start, end - start)), hex(start)


def image_fresh(data: bytes) -> None:
    """A damaged capture lifted and laid out afresh."""
    image = damaged(data)
    built = build_fresh(handover_of(image), set_of(image), REGISTRY)
    image_of(built, REGISTRY)


def image_judge(data: bytes) -> None:
    """A damaged capture in front of kernels."""
    image = damaged(data)
    for release in KERNELS:
        json.dumps(judge(image, release).document())


def image_diff(data: bytes) -> None:
    """A damaged capture does not differ from itself."""
    image = damaged(data)
    options = DiffOptions(addresses=True, pages=True, contents=True)
    assert not compare(image, image, options).changes


def image_extract(data: bytes) -> None:
    """Plans for everything in a damaged capture; none is longer than its pieces."""
    image = damaged(data)
    extents = image.space.extents()
    for node in islice(image.tree.walk(), SHOWN):
        for make in (payload_plan, raw_plan):
            with suppress(KhotoolError):
                probe(make(image, node), extents)


def probe(plan: Plan, extents: object) -> None:
    """The sums of a plan agree with each other."""
    assert plan.holes >= 0
    missing = plan.missing(extents)  # type: ignore[arg-type]
    assert int((missing[:, 1] - missing[:, 0]).sum()) <= plan.mapped


TARGETS: dict[str, Target] = {
    function.__name__.replace("_", "-"): function
    for function in (
        fdt, elf, kdump, lime, opened, definition, definitions_folder, manifest, document, path,
        btf, image_dump, image_check, image_full, image_fresh, image_judge, image_diff,
        image_extract,
    )
}  # fmt: skip
