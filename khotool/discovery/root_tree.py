"""A KHO root by itself: its device tree, its definition and its map, and nothing below it."""

from __future__ import annotations

from khotool.abi.definition import Definition, Kind
from khotool.codec.choose import NOTHING, Chosen, choose
from khotool.codec.conditions import Evidence
from khotool.codec.layouts import choose_layout
from khotool.codec.preserved_map import find_map, map_places
from khotool.codec.recover import recover_names, root_definition
from khotool.codec.scene import Scene
from khotool.fdt.blob import Blob
from khotool.model.image import Choice
from khotool.records import dataclass


@dataclass(frozen=True, eq=False, slots=True)
class RootTree:
    """A root that was read, without what it points to.

    Args:
        scene: with the root, its format and its map.
        address: physical address of the device tree, in bytes.
        definition: None where no definition describes the root.
        choice: the choice of the definition to record; None for the usual one.
        layout: of a definition that has several.
        stream: physical address of the page that names a KSTATE stream, which names the root.
    """

    scene: Scene
    address: int
    blob: Blob
    definition: Definition | None
    choice: Choice | None = None
    layout: Choice | None = None
    stream: int | None = None

    @property
    def covers_itself(self) -> bool:
        """True if the root's own page is preserved by its map."""
        return self.scene.block_of(self.address) is not None

    @property
    def is_segment(self) -> bool:
        """True if kexec carries the root over, so that its map does not have to."""
        return self.definition is not None and self.definition.segment

    @property
    def awaits_map(self) -> bool:
        """True for a root of a known format that does not point to a map yet."""
        if self.definition is None or self.blob.root is None:
            return False
        places = map_places(self.scene, self.definition, self.blob.root)
        return not any(place if isinstance(place, int) else any(place) for _, _, place in places)


def read_root(scene: Scene, blob: Blob, address: int) -> RootTree:
    """Read the definition and the map of a root whose device tree is parsed.

    Args:
        scene: without a root.
    """
    chosen = root_format(scene, blob, address)
    definition = chosen.definition
    if definition is None or definition.fdt is None or blob.root is None:
        return RootTree(scene.with_root(blob), address, blob, None)
    scene = scene.with_root(blob, definition.id)
    layout = None
    if len(definition.layouts) > 1:
        layout = choose_layout(scene, definition, blob.root, address)
    name = layout.layout if layout is not None else next(iter(definition.layouts), "")
    scene = scene.with_map(find_map(scene, definition, blob.root, name))
    return RootTree(scene, address, blob, definition, chosen.choice, layout)


def root_format(scene: Scene, blob: Blob, address: int) -> Chosen:
    """The definition of a root: by its string, by probe conditions, or as forced."""
    assert blob.root is not None
    chosen = NOTHING
    definition = root_definition(blob, scene.registry)
    if definition is not None:
        if not blob.complete:
            recover_names(blob, definition)
        string = definition.match["compatible"][0]
        candidates = scene.registry.candidates(Kind.ROOT, "compatible", string)
        chosen = choose(scene, string, candidates, Evidence(tree=blob.root, handle=address))
    for forced, wanted in scene.abi.items():
        definitions = scene.registry.definitions
        candidate = definitions.get(wanted or "") or definitions.get(forced)
        if candidate is not None and candidate.kind is Kind.ROOT:
            chosen = Chosen(candidate, chosen.choice)
    return chosen
