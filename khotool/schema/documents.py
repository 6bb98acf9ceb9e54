"""All documents by name."""

from __future__ import annotations

from khotool.config.project import Project
from khotool.records import dataclass
from khotool.schema import catalogues, image, inputs, outputs
from khotool.schema.derive import Schema, schema_of


@dataclass(frozen=True, slots=True)
class Described:
    """A document.

    Args:
        kind: typed dictionary that declares it.
        identifier: its key ``schema``; empty for what people write.
    """

    kind: type
    identifier: str = ""

    def schema(self, *, closed: bool = False) -> Schema:
        """The JSON Schema; what people write has no keys beyond those declared."""
        return schema_of(
            self.kind, identifier=self.identifier, closed=closed or not self.identifier
        )


def _written(name: str, kind: type) -> Described:
    return Described(kind, f"khotool.{name}/1")


DOCUMENTS: dict[str, Described] = {
    "dump": _written("dump", image.Dump),
    "pages": _written("pages", outputs.Pages),
    "check": _written("check", outputs.Check),
    "diff": _written("diff", outputs.Diff),
    "boot": _written("boot", outputs.Boots),
    "live": _written("live", image.Live),
    "formats": _written("formats", catalogues.Formats),
    "rules": _written("rules", catalogues.Rules),
    "explain": _written("explain", catalogues.Explain),
    "identify": _written("identify", outputs.Identify),
    "hex": _written("hex", outputs.Hexdump),
    "graph": _written("graph", outputs.Graph),
    "encode": _written("encode", outputs.Written),
    "convert": _written("convert", outputs.Written),
    "pack": _written("pack", outputs.Written),
    "extract": _written("extract", outputs.Extracted),
    "fleet": _written("fleet", outputs.Fleet),
    "settings": _written("config", catalogues.Settings),
    "manifest": Described(inputs.Manifest),
    "definition": Described(inputs.Definition),
    "config": Described(Project),
}
"""``config`` is the file that people write, ``settings`` what ``khotool config --json`` prints."""
