"""Data classes made on first use behave as the standard library's."""

from __future__ import annotations

import copy
import dataclasses
import pickle
from typing import Any, ClassVar

import pytest

from khotool import records

BOTH = pytest.mark.parametrize("one", [dataclasses, records], ids=lambda one: one.__name__)


def plain(one: Any) -> Any:
    """A mutable class with every kind of field."""

    @one.dataclass(slots=True)
    class Plain:
        name: str
        count: int = 3
        items: list[int] = one.field(default_factory=list)
        total: int = one.field(init=False)
        hidden: str = one.field(default="x", repr=False, compare=False)
        shared: ClassVar[int] = 7

        def __post_init__(self) -> None:
            self.total = self.count + len(self.items)

    return Plain


def frozen(one: Any) -> Any:
    """An immutable class, and one made from it."""

    @one.dataclass(frozen=True, slots=True, order=True)
    class Point:
        x: int
        y: int = 0

    @one.dataclass(frozen=True, slots=True)
    class Named(Point):
        name: str = ""
        node: object = one.field(default=None, repr=False, kw_only=True)
        table: dict[str, int] = one.field(default_factory=dict, hash=False)

    return Point, Named


@BOTH
def test_init(one: Any) -> None:
    """Defaults, factories, and what happens after."""
    cls = plain(one)

    made = cls("a")
    other = cls("b", 1, items=[1, 2])

    assert (made.name, made.count, made.items, made.total) == ("a", 3, [], 3)
    assert (other.count, other.items, other.total, other.shared) == (1, [1, 2], 3, 7)
    assert cls("c").items is not cls("c").items
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'name'"):
        cls()
    with pytest.raises(TypeError, match="unexpected keyword argument 'other'"):
        cls("a", other=1)
    with pytest.raises(AttributeError):
        made.other = 1


@BOTH
def test_repr_and_equality(one: Any) -> None:
    """Fields count unless they say otherwise."""
    cls = plain(one)

    made = cls("a", hidden="y")

    assert repr(made).endswith("Plain(name='a', count=3, items=[], total=3)")
    assert made == cls("a")
    assert made != cls("b")
    assert made != 3
    assert cls.__hash__ is None
    made.items.append(made)
    assert "..." in repr(made)


@BOTH
def test_frozen(one: Any) -> None:
    """Nothing is assigned; equal objects have one hash; order is by fields."""
    point, named = frozen(one)

    with pytest.raises(dataclasses.FrozenInstanceError, match="'x'"):
        point(1).x = 2
    with pytest.raises(dataclasses.FrozenInstanceError):
        del point(1).x
    assert hash(point(1, 2)) == hash(point(1, 2))
    assert sorted([point(2), point(1, 5), point(1)]) == [point(1), point(1, 5), point(2)]
    assert point(1) <= point(1)
    assert point(2) > point(1)
    assert point(2) >= point(1)
    assert point(1) != named(1)
    assert hash(named(1, table={"a": 1})) == hash(named(1))
    assert repr(named(1, name="p", node=3)).endswith("Named(x=1, y=0, name='p', table={})")
    with pytest.raises(TypeError):
        named(1, 0, "p", {}, 3)
    match named(4, name="q"):
        case point(x, y):
            assert (x, y) == (4, 0)
    assert named.__match_args__ == ("x", "y", "name", "table")


@BOTH
def test_without_slots(one: Any) -> None:
    """Defaults are attributes of the class; ``eq=False`` leaves identity."""

    @one.dataclass(frozen=True, eq=False)
    class Loose:
        """Words."""

        size: int = 4

    cls: Any = Loose
    assert cls.size == 4
    assert cls(5).size == 5
    assert Loose() != Loose()
    assert len({Loose(), Loose()}) == 2


@BOTH
def test_own_methods_win(one: Any) -> None:
    """A method of the class is not replaced."""

    @one.dataclass(frozen=True, slots=True)
    class Own:
        size: int

        def __repr__(self) -> str:
            return "own"

        def __hash__(self) -> int:
            return 7

        def __eq__(self, other: object) -> bool:
            return True

    cls: Any = Own
    assert repr(cls(1)) == "own"
    assert hash(cls(1)) == 7
    assert cls(1) == 3


@BOTH
def test_replace_and_fields(one: Any) -> None:
    """Both the module's functions and the standard library's take an object."""
    _, named = frozen(one)
    made = named(1, 2, "p", node=9)

    for module in (one, dataclasses):
        changed = module.replace(made, y=5)
        assert (changed.x, changed.y, changed.name, changed.node) == (1, 5, "p", 9)
        assert [each.name for each in module.fields(made)] == ["x", "y", "name", "node", "table"]
    assert dataclasses.is_dataclass(named)
    assert dataclasses.asdict(made) == {"x": 1, "y": 2, "name": "p", "node": 9, "table": {}}


@records.dataclass(frozen=True, slots=True)
class Kept:
    """Found again by its name."""

    x: int
    y: str = "a"


@records.dataclass(slots=True)
class Held:
    """Found again by its name."""

    x: int
    items: list[int] = records.field(default_factory=list)


@pytest.mark.parametrize("made", [Kept(1), Kept(2, "b"), Held(3), Held(4, [1])])
def test_copies(made: object) -> None:
    """Objects are pickled and copied."""
    assert pickle.loads(pickle.dumps(made)) == made
    assert copy.deepcopy(made) == copy.copy(made) == made
