"""Data classes whose methods are generated on first use.

``dataclasses`` compiles five methods for each class when its module is imported. That takes half a
millisecond a class, and for the classes of one command more than importing numpy. Here classes
share their methods, and ``__init__`` is compiled for the first object of a class. As far as khotool
uses them, they behave as those of the standard library: ``dataclasses.fields``, ``replace`` and
``asdict`` accept them, and type checkers see the standard library's decorator.
"""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from reprlib import recursive_repr
from typing import TYPE_CHECKING, Any

__all__ = ["dataclass", "field", "fields", "replace"]

_MISSING: Any = type("Missing", (), {"__repr__": lambda self: "<missing>"})()


class _Field:
    """A field and its options."""

    __slots__ = ("compare", "default", "factory", "hash", "init", "kw_only", "name", "repr", "type")

    def __init__(
        self,
        *,
        default: Any = _MISSING,
        default_factory: Any = _MISSING,
        init: bool = True,
        repr: bool = True,
        hash: bool | None = None,
        compare: bool = True,
        kw_only: bool = False,
    ) -> None:
        self.name = self.type = ""
        self.default, self.factory = default, default_factory
        self.init, self.repr, self.compare, self.kw_only = init, repr, compare, kw_only
        self.hash = compare if hash is None else hash


def _record(
    cls: Any = None,
    /,
    *,
    repr: bool = True,
    eq: bool = True,
    order: bool = False,
    frozen: bool = False,
    slots: bool = False,
) -> Any:
    """As ``dataclasses.dataclass``."""

    def made(cls: type) -> type:
        return _made(cls, repr, eq, order, frozen, slots)

    return made if cls is None else made(cls)


def _fields(record: Any) -> tuple[_Field, ...]:
    """As ``dataclasses.fields``."""
    every: tuple[_Field, ...] = record.__record_fields__
    return every


def _replace(record: Any, /, **changes: Any) -> Any:
    """As ``dataclasses.replace``."""
    for one in type(record).__record_fields__:
        if one.init and one.name not in changes:
            changes[one.name] = getattr(record, one.name)
    return type(record)(**changes)


def _made(cls: Any, repr: bool, eq: bool, order: bool, frozen: bool, slots: bool) -> type:
    own = _own_fields(cls, slots)
    if slots:
        cls = _slotted(cls, own)
    _describe(cls, own, frozen)
    mine = cls.__dict__
    if "__init__" not in mine:
        cls.__init__ = _first_init(cls, frozen)
    if repr and "__repr__" not in mine:
        cls.__repr__ = _repr
    if frozen:
        _freeze(cls, slots)
    if eq:
        _compare(cls, frozen)
    if order:
        _order(cls)
    return cls  # type: ignore[no-any-return]


def _describe(cls: Any, own: list[_Field], frozen: bool) -> None:
    """Set the attributes that describe all fields, inherited ones included."""
    bases = [base.__dict__.get("__record_fields__", ()) for base in cls.__mro__[-1:0:-1]]
    every = tuple({one.name: one for fields in (*bases, own) for one in fields}.values())
    cls.__record_fields__ = every
    places = tuple(one.name for one in every if one.init and not one.kw_only)
    for name, value in (
        ("__match_args__", places),
        ("__dataclass_fields__", _Standard(cls, "__dataclass_fields__", frozen)),
        ("__dataclass_params__", _Standard(cls, "__dataclass_params__", frozen)),
    ):
        setattr(cls, name, value)
    if cls.__doc__ is None:
        cls.__doc__ = cls.__name__


def _own_fields(cls: Any, slots: bool) -> list[_Field]:
    """The fields that a class declares itself; defaults stay attributes only without slots."""
    own = []
    for name, kind in cls.__annotations__.items():
        if str(kind).startswith("ClassVar"):
            continue
        given = cls.__dict__.get(name, _MISSING)
        one = given if isinstance(given, _Field) else _Field(default=given)
        one.name, one.type = name, kind
        own.append(one)
        if given is _MISSING:
            continue
        if slots or one.default is _MISSING:
            delattr(cls, name)
        else:
            setattr(cls, name, one.default)
    return own


def _slotted(cls: Any, own: list[_Field]) -> Any:
    """The class made again with slots, which cannot be added to an existing class."""
    inherited = {name for base in cls.__mro__[1:-1] for name in base.__dict__.get("__slots__", ())}
    inside = {
        name: value
        for name, value in cls.__dict__.items()
        if name not in ("__dict__", "__weakref__")
    }
    inside["__slots__"] = tuple(one.name for one in own if one.name not in inherited)
    new = type(cls)(cls.__name__, cls.__bases__, inside)
    new.__qualname__ = cls.__qualname__
    return new


def _first_init(cls: Any, frozen: bool) -> Callable[..., None]:
    """An ``__init__`` that replaces itself by the real one."""

    def first(self: Any, *args: Any, **named: Any) -> None:
        cls.__init__ = real = _init(cls, frozen)
        real(self, *args, **named)

    return first


def _init(cls: Any, frozen: bool) -> Callable[..., None]:
    names: dict[str, Any] = {"MISSING": _MISSING, "object_set": object.__setattr__}
    plain, named = ["self"], list[str]()
    lines: list[str] = []
    for at, one in enumerate(cls.__record_fields__):
        value = _value(one, names, at)
        if value:
            lines.append(_assign(cls, one.name, value, frozen, names, at))
        if one.init:
            default = f"default_{at}" if one.default is not _MISSING else "MISSING"
            optional = default != "MISSING" or one.factory is not _MISSING
            words = named if one.kw_only else plain
            words.append(f"{one.name}={default}" if optional else one.name)
    if hasattr(cls, "__post_init__"):
        lines.append("self.__post_init__()")
    words = [*plain, "*", *named] if named else plain
    body = "\n ".join(lines or ["pass"])
    made: dict[str, Any] = {}
    exec(f"def __init__({', '.join(words)}):\n {body}", names, made)
    init: Callable[..., None] = made["__init__"]
    init.__qualname__ = f"{cls.__qualname__}.__init__"
    return init


def _value(one: _Field, names: dict[str, Any], at: int) -> str:
    """The expression for a field's first value; empty for one that starts without."""
    if one.factory is not _MISSING:
        names[f"make_{at}"] = one.factory
        fresh = f"make_{at}()"
        return f"{fresh} if {one.name} is MISSING else {one.name}" if one.init else fresh
    if one.default is not _MISSING:
        names[f"default_{at}"] = one.default
        return one.name if one.init else f"default_{at}"
    return one.name if one.init else ""


def _assign(cls: Any, name: str, value: str, frozen: bool, names: dict[str, Any], at: int) -> str:
    if not frozen:
        return f"self.{name} = {value}"
    slot: Any = getattr(cls, name, None)
    if type(slot).__name__ == "member_descriptor":
        names[f"set_{at}"] = slot.__set__
        return f"set_{at}(self, {value})"
    return f"object_set(self, {name!r}, {value})"


@recursive_repr()
def _repr(self: Any) -> str:
    shown = (one.name for one in self.__record_fields__ if one.repr)
    return f"{type(self).__qualname__}({', '.join(f'{n}={getattr(self, n)!r}' for n in shown)})"


def _freeze(cls: Any, slots: bool) -> None:
    names = frozenset(one.name for one in cls.__record_fields__)

    def assign(self: Any, name: str, value: Any) -> None:
        if type(self) is cls or name in names:
            raise _frozen(f"cannot assign to field {name!r}")
        super(cls, self).__setattr__(name, value)

    def delete(self: Any, name: str) -> None:
        if type(self) is cls or name in names:
            raise _frozen(f"cannot delete field {name!r}")
        super(cls, self).__delattr__(name)

    cls.__setattr__, cls.__delattr__ = assign, delete
    if slots:
        _pickle_by_position(cls)


def _frozen(message: str) -> Exception:
    from dataclasses import FrozenInstanceError

    return FrozenInstanceError(message)


def _pickle_by_position(cls: Any) -> None:
    names = [one.name for one in cls.__record_fields__]

    def state(self: Any) -> list[Any]:
        return [getattr(self, name) for name in names]

    setters = [getattr(cls, name).__set__ for name in names]

    def restore(self: Any, values: list[Any]) -> None:
        for put, value in zip(setters, values, strict=True):
            put(self, value)

    cls.__getstate__, cls.__setstate__ = state, restore


def _values(names: list[str]) -> Callable[[Any], tuple[Any, ...]]:
    """The fields of these names as a tuple."""
    if len(names) > 1:
        return attrgetter(*names)
    return lambda record: tuple(getattr(record, name) for name in names)


def _compare(cls: Any, frozen: bool) -> None:
    mine, fields = cls.__dict__, cls.__record_fields__
    if "__eq__" not in mine:
        compared = _values([one.name for one in fields if one.compare])

        def equal(self: Any, other: object) -> Any:
            if other.__class__ is not self.__class__:
                return NotImplemented
            return compared(self) == compared(other)

        cls.__eq__ = equal
    if mine.get("__hash__") is not None:
        return
    if frozen:
        hashed = _values([one.name for one in fields if one.hash])
        cls.__hash__ = lambda self: hash(hashed(self))
    else:
        cls.__hash__ = None


def _order(cls: Any) -> None:
    import operator

    values = _values([one.name for one in cls.__record_fields__ if one.compare])

    def by(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], Any]:
        def method(self: Any, other: Any) -> Any:
            if other.__class__ is not self.__class__:
                return NotImplemented
            return compare(values(self), values(other))

        return method

    cls.__lt__, cls.__le__ = by(operator.lt), by(operator.le)
    cls.__gt__, cls.__ge__ = by(operator.gt), by(operator.ge)


class _Standard:
    """An attribute that functions of the standard library read, made when one of them does."""

    def __init__(self, cls: Any, name: str, frozen: bool) -> None:
        self._cls, self._name, self._frozen = cls, name, frozen

    def __get__(self, record: object, owner: type) -> Any:
        import dataclasses

        columns: list[tuple[str, Any, Any]] = []
        for one in self._cls.__record_fields__:
            said = {"default": one.default, "default_factory": one.factory}
            said = {key: value for key, value in said.items() if value is not _MISSING}
            for key in ("init", "repr", "compare", "hash", "kw_only"):
                said[key] = getattr(one, key)
            columns.append((one.name, one.type, dataclasses.field(**said)))
        like = dataclasses.make_dataclass(self._cls.__name__, columns, frozen=self._frozen)
        found = getattr(like, self._name)
        setattr(self._cls, self._name, found)
        return found


if TYPE_CHECKING:
    from dataclasses import dataclass, field, fields, replace
else:
    dataclass, field, fields, replace = _record, _Field, _fields, _replace
