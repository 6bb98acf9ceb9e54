"""Files, manifests and device trees, as the laboratory reads and writes them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from khotool.errors import EncodeError, InputError, UsageError

if TYPE_CHECKING:
    from khotool.abi.registry import Registry
    from khotool.encode.fresh import Built
    from khotool.handover.values import Handover
    from khotool.model.image import Image


def read_whole(path: str, limit: int) -> bytes:
    """All bytes of a file, expanded if it is compressed.

    Raises:
        InputError: no such file, or one that expands to more than ``limit`` bytes.
    """
    from khotool.memory.wholefile import whole_file

    with whole_file(path, limit) as data:
        return bytes(data)


def expand_zstd(data: bytes, limit: int) -> bytes:
    """One zstd frame, whatever follows it; at most ``limit`` bytes.

    Raises:
        ValueError: it does not decompress, or this Python has no zstd.
    """
    from khotool.memory.compression import zstd_module

    module = zstd_module()
    if module is None:
        raise ValueError("no zstd")
    try:
        return module.ZstdDecompressor().decompress(data, limit)
    except module.ZstdError as error:
        raise ValueError(str(error)) from None


def write_image(
    path: str,
    segments: Iterator[tuple[int, bytes]],
    machine: str,
    release: str | None,
    page_size: int,
) -> None:
    """Write memory as an ELF core; the file appears complete or not at all.

    Raises:
        KhotoolError: it cannot be written.
    """
    from khotool.discovery.banner import WRITER_NOTE
    from khotool.encode.fresh import NO_PAGE_TABLES
    from khotool.memory.writer import write_elf

    notes = {"OSRELEASE": release, WRITER_NOTE: release} if release else {}
    notes |= {"PAGESIZE": str(page_size)} | NO_PAGE_TABLES
    write_elf(path, segments, endian="little", machine=machine, vmcoreinfo=notes, align=page_size)


def write_file(path: str, data: bytes) -> None:
    """Write a file, complete or not at all.

    Raises:
        KhotoolError: it cannot be written.
    """
    from khotool.memory.atomic import replacing

    with replacing(path) as file:
        file.write(data)


def registry() -> Registry:
    """The definitions that come with khotool."""
    from khotool.abi.registry import load_registry

    return load_registry([])


def read_manifest(path: str, release: str, page_size: int) -> tuple[dict[str, Any], Handover]:
    """A manifest, read for a kernel: its document, and what it hands over.

    Args:
        release: of the kernel; replaces the manifest's ``abi`` as far as a set is known.
        page_size: of the kernel, in bytes, where the manifest does not say it.

    Raises:
        KhotoolError: no such file, or a mistake in it.
        UsageError: it is a full dump, or was written for pages of another size.
    """
    from khotool.opening.models import read_model

    model = read_model(path)
    if model.is_dump:
        raise UsageError(f"{path}: a full dump; a kernel preserves what a manifest says")
    document = dict(model.document)
    if document.setdefault("page_size", page_size) != page_size:
        raise UsageError(
            f"{path}: page_size = {document['page_size']!r}, but this kernel has pages of "
            f"{page_size} bytes"
        )
    return model.document, handover_of(document, release, Path(path).name, Path(path).parent)


def handover_of(document: dict[str, Any], release: str, name: str, folder: Path) -> Handover:
    """What the document of a manifest hands over, as the set of a release carries it.

    Raises:
        EncodeError: a mistake in it, or something that the set does not carry.
    """
    from khotool.manifest.read import Manifest
    from khotool.structured import Document

    known = registry()
    wanted = dict(document)
    found = known.set_for(release)
    if found is not None:
        wanted["abi"] = found.id
    elif "abi" not in wanted:
        raise EncodeError(name, f"no ABI set has release {release}; say which with 'abi'")
    return Manifest(Document(name, wanted), folder, known).handover()


def build(document: dict[str, Any], name: str = "sample.toml") -> Built:
    """The image that ``encode`` makes of a manifest.

    Raises:
        EncodeError: a mistake in it.
    """
    from khotool.opening.models import Model, build_model

    return build_model(Model.of(Path(name), document), registry())


def decode(built: Built) -> Image:
    """The image of a model, as a reader sees it.

    Raises:
        KhotoolError: it does not open.
    """
    from khotool.encode.reopen import image_of

    return image_of(built, registry())


def with_chosen(tree: bytes, properties: dict[str, bytes]) -> bytes:
    """A device tree with properties of /chosen set; without those that choose random numbers.

    Raises:
        InputError: it is not a device tree.
    """
    from khotool.fdt.blob import FdtError, Node, Property
    from khotool.fdt.parse import parse
    from khotool.fdt.write import build_sequential

    try:
        root = parse(tree).root
    except FdtError as error:
        raise InputError(f"the machine's device tree: {error}") from None
    if root is None:
        raise InputError("the machine's device tree has no root")
    chosen = root.child("chosen")
    if chosen is None:
        chosen = Node("chosen")
        root.items.append(chosen)
    dropped = {*properties, "kaslr-seed", "rng-seed"}
    kept = [i for i in chosen.items if not (isinstance(i, Property) and i.name in dropped)]
    chosen.items[:] = [Property(name, value) for name, value in properties.items()] + kept
    return build_sequential(root)


HERE = Path()


def sha256(data: bytes) -> str:
    """In hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def without_unknown(document: dict[str, Any], release: str) -> dict[str, Any]:
    """A manifest without what the set of a release does not carry."""
    found = registry().set_for(release)
    entries = {"reserve_mem": "memblock", "kho_test": "kho_test", "session": "LUO"}
    return {
        key: value
        for key, value in document.items()
        if found is None or key not in entries or entries[key] in found.entries
    }


def recipe(path: str) -> dict[str, Any]:
    """The document of a recipe or manifest.

    Raises:
        KhotoolError: it cannot be read.
    """
    from khotool.opening.models import read_model

    return dict(read_model(path).document)


def choices_of(image: Image, document: dict[str, Any]) -> dict[str, Any]:
    """What a kernel chose itself, as keys of a manifest: its test, FLBs, counts."""
    from khotool.view.image import ImageView

    chosen: dict[str, Any] = {}
    test = image.entry("kho_test")
    folios = test.get("folios") if test is not None else None
    if (
        test is not None
        and folios is not None
        and folios.table is not None
        and "kho_test" in document
    ):
        orders = folios.table.column("order").tolist()
        chosen["kho_test"] = {"orders": orders, "csum": test.value_of("csum")}
    flbs = [
        {"name": flb.name, "data": flb.data, "count": flb.count}
        for flb in ImageView(image).luo.flbs
        if isinstance(flb.name, str) and isinstance(flb.data, int) and isinstance(flb.count, int)
    ]
    return chosen | ({"flb": flbs} if flbs else {})


def setup_data(root: int, root_size: int, scratch: int, scratch_size: int) -> bytes:
    """The node of setup_data that names a handover: header and payload, little-endian.

    Args:
        root: physical address of the KHO root; ``root_size`` bytes are mapped of it.
        scratch: physical address of the scratch array; ``scratch_size`` its bytes.
    """
    payload = _record(
        "setup_data",
        "kho_data",
        {
            "fdt_addr": root,
            "fdt_size": root_size,
            "scratch_addr": scratch,
            "scratch_size": scratch_size,
        },
    )
    number = _record_enum("setup_data", "setup_data", "type", "SETUP_KEXEC_KHO")
    header = {"next": 0, "type": number, "len": len(payload)}
    return _record("setup_data", "setup_data", header) + payload


def scratch_array(areas: Iterable[tuple[int, int]]) -> bytes:
    """The scratch array, little-endian: physical address and bytes of each area."""
    return b"".join(
        _record("kho_scratch", "kho_scratch", {"address": start, "size": size})
        for start, size in areas
    )


def _record(identifier: str, struct: str, values: dict[str, int]) -> bytes:
    from khotool.abi.geometry import Geometry
    from khotool.abi.record import encode_record

    known = registry()
    compiled = known.compile(known.get(identifier), struct, Geometry(4096))
    return encode_record(compiled, values, identifier)


def _record_enum(identifier: str, struct: str, label: str, name: str) -> int:
    from khotool.abi.geometry import Geometry

    known = registry()
    compiled = known.compile(known.get(identifier), struct, Geometry(4096))
    return int(compiled.by_label(label).field.enum[name])
