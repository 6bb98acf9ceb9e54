"""Definitions by id, and by the strings of an image that select them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from khotool.abi.compile import CompiledStruct
from khotool.abi.composite import first_part, stretched
from khotool.abi.definition import AbiSet, Definition, Kind
from khotool.abi.folder import SETS_FILE
from khotool.abi.geometry import Geometry
from khotool.abi.releases import Release, find_set
from khotool.errors import DefinitionError, UsageError
from khotool.records import dataclass

MAX_STRETCHED = 64
"""Definitions made for strings of images that are kept."""
MAX_NESTING = 32
"""Depth of structs embedded in one another; the kernel's own nest two deep."""


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a definition comes from.

    Args:
        kind: ``shipped`` with khotool, an installed ``package``, a folder of the ``user``, or a
            ``folder`` named by ``--formats``.
        name: name and version of the package, or path of the folder.
    """

    kind: str
    name: str = ""


SHIPPED = Origin("shipped")


class Registry:
    """Definitions by id and by the strings that select them."""

    def __init__(
        self,
        definitions: Iterable[Definition],
        sets: Iterable[AbiSet] = (),
        origins: Mapping[str, Origin] | None = None,
    ) -> None:
        """Index definitions; a later one replaces an earlier one of the same id.

        Args:
            origins: where definitions come from, by id; those not listed are shipped.
        """
        self.origins = dict(origins or {})
        self.definitions: dict[str, Definition] = {d.id: d for d in definitions}
        self.sets: dict[str, AbiSet] = {s.id: s for s in sets}
        self._matches: dict[tuple[Kind, str, str], list[Definition]] = {}
        for definition in self.definitions.values():
            for key, values in definition.match.items():
                for value in values:
                    self._matches.setdefault((definition.kind, key, value), []).append(definition)
        for found in self._matches.values():
            # One without a probe is what the string means by default.
            found.sort(key=lambda d: (bool(d.probe), d.status != "merged"))
        self._stretched: dict[str, Definition] = {}
        self._compiled: dict[tuple[str, str, int, str], CompiledStruct] = {}
        self._compiling: list[tuple[str, str, Geometry]] = []
        self._check_names()

    def __iter__(self) -> Iterator[Definition]:
        return iter(self.definitions.values())

    def get(self, identifier: str) -> Definition:
        """The definition with this id.

        Raises:
            UsageError: there is none; names the nearest.
        """
        found = self.definitions.get(identifier) or self.stretched(identifier)
        if found is None:
            import difflib

            near = difflib.get_close_matches(identifier, self.definitions, 1)
            hint = f"did you mean {near[0]}?" if near else "see khotool formats list"
            raise UsageError(f"no format {identifier!r}; {hint}")
        return found

    def origin(self, identifier: str) -> Origin:
        """Where the definition with this id comes from."""
        return self.origins.get(identifier, SHIPPED)

    def extended(
        self, added: Iterable[tuple[Definition, Origin]], sets: Iterable[AbiSet] = ()
    ) -> Registry:
        """A registry with further definitions, which win, and further sets.

        Raises:
            DefinitionError: one of them names what is not defined.
        """
        added = list(added)
        return Registry(
            [*self, *(definition for definition, _ in added)],
            [*self.sets.values(), *sets],
            {**self.origins, **{definition.id: origin for definition, origin in added}},
        )

    def match(self, kind: Kind, key: str, value: str) -> Definition | None:
        """The definition of a kind whose ``match`` has this value under this key.

        Of several, the one that the string means by default.
        """
        found = self.candidates(kind, key, value)
        return found[0] if found else None

    def candidates(self, kind: Kind, key: str, value: str) -> tuple[Definition, ...]:
        """All definitions of a kind whose ``match`` has this value under this key.

        A string of several parts that none has is that of its first part.
        """
        found = self._matches.get((kind, key, value))
        return tuple(found or self._matches.get((kind, key, first_part(value))) or ())

    def stretched(self, string: str) -> Definition | None:
        """A definition for a record with a string of several parts in front; None without one."""
        found = self._stretched.get(string)
        if found is not None:
            return found
        for base in self._matches.get((Kind.ENTRY, "compatible", first_part(string)), ()):
            found = stretched(base, string)
            if found is None:
                continue
            while len(self._stretched) >= MAX_STRETCHED:
                gone = next(iter(self._stretched))
                del self._stretched[gone]
                self._compiled = {k: v for k, v in self._compiled.items() if k[0] != gone}
            self._stretched[string] = found
            return found
        return None

    def variants(self, value: str) -> dict[str, Definition]:
        """Definitions that any ``match`` selects by this string, by id."""
        return {
            definition.id: definition
            for (_, _, name), found in self._matches.items()
            if name == value
            for definition in found
        }

    def handler(self, kind: str, name: str) -> Definition | None:
        """The definition that reads the handle of a file or FLB of this name."""
        found = self.handlers(kind, name)
        return found[0] if found else None

    def handlers(self, kind: str, name: str) -> tuple[Definition, ...]:
        """All definitions that may read the handle of a file or FLB of this name."""
        key = "compatible" if kind == Kind.FILE else "name"
        return self.candidates(Kind(kind), key, name)

    def set_for(self, release: str) -> AbiSet | None:
        """The ABI set of a kernel release such as ``7.3.4``, or of a set's own id.

        ``khotool.abi.releases`` has the words for a name that means no set.
        """
        if release in self.sets:
            return self.sets[release]
        parsed = Release.parse(release)
        return find_set(parsed, self.sets) if parsed is not None else None

    def owner_of_struct(self, definition: Definition, name: str) -> Definition:
        """The definition among ``definition`` and what it uses that has the struct.

        Raises:
            DefinitionError: none has it.
        """
        if name in definition.structs:
            return definition
        for used in definition.uses:
            if name in self.definitions.get(used, definition).structs:
                return self.definitions[used]
        raise DefinitionError(definition.source, f"struct {name!r} is not defined here or in uses")

    def compile(self, definition: Definition, name: str, geometry: Geometry) -> CompiledStruct:
        """The struct of a definition for one page size and byte order.

        Raises:
            DefinitionError: no such struct, its declared size is wrong, or it embeds itself.
        """
        owner = self.owner_of_struct(definition, name)
        key = (owner.id, name, geometry.page_size, geometry.byteorder)
        compiled = self._compiled.get(key)
        if compiled is None:
            compiled = self._compiled[key] = self._compile(owner, name, geometry)
        return compiled

    def _compile(self, owner: Definition, name: str, geometry: Geometry) -> CompiledStruct:
        key = (owner.id, name, geometry)
        where = f"{owner.source}: struct.{name}"
        if key in self._compiling:
            raise DefinitionError(where, "the struct embeds itself")
        if len(self._compiling) == MAX_NESTING:
            raise DefinitionError(where, f"structs nest more than {MAX_NESTING} deep")
        self._compiling.append(key)
        try:
            return CompiledStruct(
                owner.structs[name], geometry, lambda n: self.compile(owner, n, geometry), where
            )
        finally:
            self._compiling.pop()

    def _check_names(self) -> None:
        for definition in self:
            for used in definition.uses:
                if used not in self.definitions:
                    raise DefinitionError(definition.source, f"uses {used!r}, which is not defined")
        for abi in self.sets.values():
            named = [abi.root, *abi.entries.values(), *abi.nodes, *abi.files, *abi.flbs]
            named += abi.layouts
            for identifier in named:
                if identifier not in self.definitions:
                    raise DefinitionError(
                        f"{SETS_FILE}.{abi.id}", f"names {identifier!r}, which is not defined"
                    )
