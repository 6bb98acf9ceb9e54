"""Values of a document with their place, and typed ways to read them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, Final

from khotool.structured.mistake import suggestion
from khotool.structured.numbers import parse_integer, parse_size
from khotool.structured.positions import Path

if TYPE_CHECKING:
    from typing import Protocol

    class Notes(Protocol):
        """The part of a document that its values use."""

        def add(self, path: Path, message: str, *, line: int = 0, column: int = 0) -> None:
            """Note a mistake."""

        def mark(self, path: Path) -> None:
            """Count a path as wrong."""

        def is_wrong(self, path: Path) -> bool:
            """True if a mistake was noted at a path or below it."""

        def table(self, path: Path, raw: object) -> Table:
            """The table at a path."""


class _Required:
    """Default of a key that is required."""


class _Missing:
    """Value of a missing key, which was noted as a mistake already."""


REQUIRED: Final = _Required()
_MISSING: Final = _Missing()
_KINDS: dict[type, str] = {
    dict: "a table",
    list: "a list",
    str: "a string",
    bool: "a boolean",
    int: "an integer",
    float: "a number with a fraction",
    type(None): "null",
}


def key_text(path: Path) -> str:
    """A path as messages show it: ``struct.luo_ser.fields[2].role``."""
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}" if text else step
    return text


def found_text(raw: object) -> str:
    """A value in a message: its type, and the value itself if that is short."""
    kind = _KINDS.get(type(raw), f"a {type(raw).__name__}")
    return f"{kind} {raw!r:.40}" if isinstance(raw, str | int | float) else kind


class _Placed:
    """Something at a place of a document."""

    __slots__ = ("_owner", "path", "raw")

    def __init__(self, owner: Notes, path: Path, raw: Any) -> None:
        self._owner = owner
        self.path = path
        self.raw = raw

    @property
    def key(self) -> str:
        """The dotted key."""
        return key_text(self.path)

    @property
    def is_wrong(self) -> bool:
        """True if a mistake was noted about this value or anything below it."""
        return self._owner.is_wrong(self.path)

    def mistake(self, message: str, *, line: int = 0, column: int = 0) -> None:
        """Note a mistake.

        Args:
            line, column: of a mistake inside a text of several lines, counted from 1 in the text.
        """
        self._owner.add(self.path, message, line=line, column=column)

    def unknown(self, message: str, known: Iterable[str], name: str | None = None) -> None:
        """Note an unknown name, with a suggestion.

        Args:
            name: the unknown name; by default the value, or the last key.
        """
        if name is None:
            name = self.raw if isinstance(self.raw, str) else str(self.path[-1])
        self.mistake(message + suggestion(name, known))

    def _expected(self, what: str) -> None:
        if self.raw is not _MISSING:
            self.mistake(f"expected {what}, found {found_text(self.raw)}")


class Value(_Placed):
    """A value with its place.

    Getters note a mistake and return a harmless value of the type where the value is wrong.

    Args:
        raw: as TOML or JSON parsed it.
    """

    __slots__ = ()

    def text(self, *, limit: int | None = None, empty: bool = True, nul: bool = True) -> str:
        """A string.

        Args:
            limit: bytes of its UTF-8 form.
            empty: an empty string is allowed.
            nul: a NUL character is allowed.
        """
        raw: object = self.raw
        if not isinstance(raw, str):
            self._expected("a string")
            return ""
        if limit is not None and len(raw.encode("utf-8", "surrogatepass")) > limit:
            size = len(raw.encode("utf-8", "surrogatepass"))
            self.mistake(f"{size} bytes; at most {limit} fit")
            return ""
        if not nul and "\0" in raw:
            self.mistake("a string cannot contain NUL")
            return ""
        if not raw and not empty:
            self.mistake("expected at least one character")
        return raw

    def integer(self, *, least: int = 0, most: int = (1 << 64) - 1, sizes: bool = False) -> int:
        """An integer, or a string such as ``0x1000``, within bounds.

        Args:
            sizes: a string may have a suffix too, as in ``2M``.
        """
        raw: object = self.raw
        if isinstance(raw, str):
            try:
                raw = parse_size(raw) if sizes else parse_integer(raw)
            except ValueError:
                self.mistake(f"{raw!r:.60} is not a number")
                return least
        if not isinstance(raw, int) or isinstance(raw, bool):
            self._expected("an integer")
            return least
        if not least <= raw <= most:
            self.mistake(self._range(raw, least, most))
            return least
        return raw

    @staticmethod
    def _range(raw: int, least: int, most: int) -> str:
        shown = hex(raw) if abs(raw) > 9999 else str(raw)
        if raw > most and most == (1 << 64) - 1:
            return f"{shown} does not fit in 64 bits"
        return f"{shown} is out of range; expected {least} to {most}"

    def boolean(self) -> bool:
        """``true`` or ``false``."""
        if not isinstance(self.raw, bool):
            self._expected("true or false")
            return False
        return self.raw

    def choice(self, allowed: Iterable[str]) -> str:
        """One of some strings; the first of them where the value is wrong."""
        names = [str(name) for name in allowed]
        if not isinstance(self.raw, str):
            self._expected("a string")
        elif self.raw in names:
            return str(self.raw)
        else:
            what = next((str(step) for step in reversed(self.path) if isinstance(step, str)), "")
            self.mistake(f"unknown {what or 'value'} {self.raw!r:.60}{suggestion(self.raw, names)}")
        return names[0] if names else ""

    def flags(self, names: Mapping[str, int]) -> int:
        """A list of names of bits, or their integer."""
        if not isinstance(self.raw, list):
            return self.integer()
        result = 0
        for item in self.items():
            if isinstance(item.raw, str) and item.raw in names:
                result |= names[item.raw]
            elif isinstance(item.raw, str):
                item.mistake(f"unknown flag {item.raw!r:.60}{suggestion(item.raw, names)}")
            else:
                item._expected("the name of a flag")
        return result

    def hexadecimal(self) -> bytes:
        """Bytes written as hexadecimal digits."""
        if isinstance(self.raw, str):
            try:
                return bytes.fromhex(self.raw)
            except ValueError:
                pass
        self._expected("bytes as hexadecimal digits")
        return b""

    def items(self, limit: int | None = None) -> list[Value]:
        """Elements of a list.

        Args:
            limit: elements that are accepted; the rest is a mistake and left out.
        """
        if not isinstance(self.raw, list):
            self._expected("a list")
            return []
        raw = self.raw
        if limit is not None and len(raw) > limit:
            self.mistake(f"{len(raw)} elements; at most {limit} are accepted")
            raw = raw[:limit]
        return [Value(self._owner, (*self.path, n), item) for n, item in enumerate(raw)]

    def texts(self) -> tuple[str, ...]:
        """A list of strings."""
        return tuple(item.text() for item in self.items())

    def table(self) -> Table:
        """A table; an empty one where the value is not a table."""
        return self._owner.table(self.path, self.raw)

    def tables(self) -> list[Table]:
        """A list of tables."""
        return [item.table() for item in self.items()]


class Table(_Placed):
    """A table whose keys are asked for one by one; `Document.finish` reports the others.

    A key that is asked for is known, whether it is there or not.
    """

    __slots__ = ("_known",)

    def __init__(self, owner: Notes, path: Path, raw: object) -> None:
        super().__init__(owner, path, raw)
        self._known: set[str] = set()
        if not isinstance(raw, dict):
            self._expected("a table")
            self.raw = {}

    def __contains__(self, key: str) -> bool:
        self._known.add(key)
        return key in self.raw

    def __iter__(self) -> Iterator[str]:
        """Names of the keys that are there."""
        return iter([str(key) for key in self.raw])

    def __len__(self) -> int:
        return len(self.raw)

    def get(self, key: str) -> Value | None:
        """The value of a key, None without it."""
        if key not in self:
            return None
        return Value(self._owner, (*self.path, key), self.raw[key])

    def __getitem__(self, key: str) -> Value:
        """The value of a required key; a missing one is a mistake, noted once."""
        if key not in self:
            self._miss(key)
        return Value(self._owner, (*self.path, key), self.raw.get(key, _MISSING))

    def values(self) -> list[tuple[str, Value]]:
        """All keys with their values, for a table whose keys are names; all become known."""
        return [(key, self[key]) for key in self]

    def know(self, *keys: str) -> None:
        """Accept keys without reading them."""
        self._known.update(keys)

    def ignore(self) -> None:
        """Accept all keys without reading them, where a mistake elsewhere makes them unreadable."""
        self._known.update(self.raw)

    def close(self) -> None:
        """Report keys that were not asked for."""
        for key in self.raw:
            if key not in self._known:
                message = f"unknown key {key!r:.60}{suggestion(str(key), sorted(self._known))}"
                self._owner.add((*self.path, str(key)), message)
        self._known.update(self.raw)

    # -- shortcuts: a key of some type; a missing one has its default, or is a mistake ----

    def _here(self, key: str, default: object) -> Value | None:
        if key in self:
            return Value(self._owner, (*self.path, key), self.raw[key])
        if default is REQUIRED:
            self._miss(key)
        return None

    def _miss(self, key: str) -> None:
        self.mistake(f"missing key {key!r}")
        self._owner.mark((*self.path, key))

    def text(
        self,
        key: str,
        default: str | _Required = REQUIRED,
        *,
        limit: int | None = None,
        empty: bool = True,
        nul: bool = True,
    ) -> str:
        """A string; see `Value.text`."""
        value = self._here(key, default)
        if value is None:
            return default if isinstance(default, str) else ""
        return value.text(limit=limit, empty=empty, nul=nul)

    def integer(
        self,
        key: str,
        default: int | _Required = REQUIRED,
        *,
        least: int = 0,
        most: int = (1 << 64) - 1,
        sizes: bool = False,
    ) -> int:
        """An integer within bounds; see `Value.integer`."""
        value = self._here(key, default)
        if value is None:
            return least if isinstance(default, _Required) else default
        return value.integer(least=least, most=most, sizes=sizes)

    def optional_integer(self, key: str, *, least: int = 0, sizes: bool = False) -> int | None:
        """An integer, None without the key."""
        value = self.get(key)
        return None if value is None else value.integer(least=least, sizes=sizes)

    def boolean(self, key: str, default: bool = False) -> bool:
        """A boolean."""
        value = self.get(key)
        return default if value is None else value.boolean()

    def choice(self, key: str, allowed: Iterable[str], default: str | _Required = REQUIRED) -> str:
        """One of some strings."""
        names = list(allowed)
        value = self._here(key, default)
        if value is not None:
            return value.choice(names)
        return names[0] if isinstance(default, _Required) else default

    def texts(self, key: str) -> tuple[str, ...]:
        """A list of strings; empty without the key."""
        value = self.get(key)
        return () if value is None else value.texts()

    def table(self, key: str) -> Table:
        """A table; an empty one without the key."""
        value = self.get(key)
        return self._owner.table((*self.path, key), {} if value is None else value.raw)

    def tables(self, key: str) -> list[Table]:
        """A list of tables; empty without the key."""
        value = self.get(key)
        return [] if value is None else value.tables()

    def named_tables(self, key: str) -> dict[str, Table]:
        """A table of tables by name; empty without the key."""
        return {name: value.table() for name, value in self.table(key).values()}

    def named_texts(self, key: str) -> dict[str, str]:
        """A table of strings by name; empty without the key."""
        return {name: value.text() for name, value in self.table(key).values()}

    def named_integers(self, key: str, *, least: int = -(1 << 63)) -> dict[str, int]:
        """A table of integers by name; empty without the key."""
        return {name: value.integer(least=least) for name, value in self.table(key).values()}
