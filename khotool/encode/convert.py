"""A handover as the kernel of a different ABI set writes it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from typing import Any

from khotool.abi.composite import first_part
from khotool.abi.definition import AbiSet, Definition, Kind
from khotool.abi.registry import Registry
from khotool.encode.fresh import Built, Progress, build_fresh
from khotool.encode.lift import handover_of
from khotool.encode.sets import first_release, named_set, set_of
from khotool.errors import EncodeError
from khotool.handover.labels import content_labels
from khotool.handover.values import EntryValue, Handle, Handover
from khotool.model.image import Image, Span


def convert_image(
    image: Image, to: str, progress: Progress | None = None, memory: Sequence[Span] = ()
) -> Built:
    """Lay an image out afresh for a different set; ``lost`` lists what that set cannot express.

    Args:
        to: kernel release, id of a set, or string of a root.
        memory: ranges to lay it out in; by default those that the image is in.

    Raises:
        UsageError: no such set.
        EncodeError: a limit of the set is passed.
    """
    abi = named_set(to, image.registry)
    handover = handover_of(image, memory)
    handover.osrelease = first_release(abi)
    if own_set(image) is not abi:
        # Within its own set a string stays, even one with parts that no definition names.
        rename_handlers(handover, abi, image.registry)
    add_defaults(handover, abi, image.registry)
    return build_fresh(handover, abi, image.registry, progress)


def own_set(image: Image) -> AbiSet | None:
    """The set that an image is of; None where no set explains it."""
    try:
        return set_of(image)
    except EncodeError:
        return None


def family(identifier: str) -> str:
    """The part of a string that versions share: ``memfd`` of ``memfd-v2``."""
    whole = first_part(identifier)
    stem, _, version = whole.rpartition("-v")
    return stem if stem and version.isdigit() else whole


def rename_handlers(handover: Handover, abi: AbiSet, registry: Registry) -> None:
    """Give every file the version of its handler that the set has."""
    luo = handover.entry("LUO")
    if luo is None:
        return
    by_family = {
        family(string): definition
        for definition in map(registry.get, abi.files)
        for string in definition.match.get("compatible", ())
    }
    for session in luo.values.get("sessions", []):
        for file in session.get("files", []):
            target = by_family.get(family(file.get("handler", "")))
            handle = file.get("data")
            if target is None or not isinstance(handle, Handle) or handle.values is None:
                continue
            old = file["handler"]
            file["handler"] = target.match["compatible"][0]
            if old != file["handler"] or handle.format not in ("", target.id):
                handle.format = target.id
                token = file.get("token")
                key = f"{token:#x}" if isinstance(token, int) else token
                path = f"/LUO/sessions[{session.get('name')}]/files[{key}]"
                labels = set(content_labels(registry, target))
                handover.lost += dropped(handle.values, labels, target, f"{path}/data")


def dropped(
    values: dict[str, Any], labels: Collection[str], target: Definition, path: str
) -> Iterator[str]:
    """Drop values that the target has no field for; what those were that meant something."""
    for label in [name for name in values if name not in labels]:
        value = values.pop(label)
        if any(value) if isinstance(value, list) else value:
            yield f"{path}/{label}: {target.id} has no such field; value {value!r}"


def add_defaults(handover: Handover, abi: AbiSet, registry: Registry) -> None:
    """Entries that every kernel of the set writes."""
    present = {entry.name for entry in handover.entries}
    if "LUO" in abi.entries and "LUO" not in present:
        values = {"liveupdate_number": 1, "sessions": [], "flbs": []}
        handover.entries.append(EntryValue("LUO", abi.entries["LUO"], values))
    metadata = abi.entries.get("kexec-metadata")
    if metadata is not None and "kexec-metadata" not in present:
        definition = registry.get(metadata)
        assert definition.kind is Kind.ENTRY
        values = {"version": 1, "previous_release": handover.osrelease, "kexec_count": 1}
        handover.entries.append(EntryValue("kexec-metadata", metadata, values))
    order = list(abi.entries)
    handover.entries.sort(
        key=lambda entry: order.index(entry.name) if entry.name in order else len(order)
    )
