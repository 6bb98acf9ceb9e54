"""Types and constant expressions of C, as pycparser reads them, in the words of definitions."""

from __future__ import annotations

import operator
from typing import TYPE_CHECKING, Any

from khotool.abi.types import parse_type

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

TYPES = {
    **{f"{sign}{bits}": f"{sign}{bits}" for sign in "us" for bits in (8, 16, 32, 64)},
    **{f"__{sign}{bits}": f"{sign}{bits}" for sign in "us" for bits in (8, 16, 32, 64)},
    **{f"uint{bits}_t": f"u{bits}" for bits in (8, 16, 32, 64)},
    **{f"int{bits}_t": f"s{bits}" for bits in (8, 16, 32, 64)},
    **{f"__be{bits}": f"beu{bits}" for bits in (16, 32, 64)},
    "bool": "u8",
    "phys_addr_t": "u64",
    "dma_addr_t": "u64",
    "resource_size_t": "u64",
    "pgoff_t": "u64",
    "size_t": "u64",
    "loff_t": "s64",
    "gfn_t": "u64",
}
"""Types of integers, in a 64-bit kernel, by the names that C has for them."""
_BITS = {"char": 8, "short": 16, "": 32, "long": 64, "long long": 64}
"""Bits of an integer by its words, without those for the sign and ``int``."""
BEGIN_TYPE = frozenset(
    ("struct", "union", "enum", "signed", "unsigned", "char", "short", "int", "long")
)
_WORDS = (
    "auto break case char const continue default do double else enum extern float for goto if "
    "inline int long register restrict return short signed sizeof static struct switch typedef "
    "union unsigned void volatile while offsetof __int128 __builtin_va_arg "
    "_Alignas _Alignof _Atomic _Bool _Complex _Generic _Noreturn _Pragma _Static_assert "
    "_Thread_local"
)
KEYWORDS = frozenset(_WORDS.split())
"""Words of C that no struct or member can be called."""


class RefusedError(Exception):
    """A declaration cannot be part of a definition."""


class UnknownTypeError(Exception):
    """A declaration has a type that was reported where it begins."""


INTEGERS = frozenset(TYPES.values())
_OPERATORS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.floordiv,
    "%": operator.mod,
    "<<": operator.lshift,
    ">>": operator.rshift,
    "&": operator.and_,
    "|": operator.or_,
}


def evaluate(node: Any, names: Mapping[str, int]) -> int:
    """The value of a constant expression; ``names`` are constants that it may use.

    Raises:
        RefusedError: it is not constant, or not one that a definition may have.
    """
    kind = type(node).__name__
    if kind == "Constant":
        return constant(node.value)
    if kind == "ID":
        if node.name not in names:
            raise RefusedError(f"{node.name} is not defined; give its value in [constants]")
        return names[node.name]
    if kind == "UnaryOp" and node.op == "sizeof":
        inner = integer_name(node.expr.type if hasattr(node.expr, "type") else node.expr)
        if inner not in INTEGERS:
            raise RefusedError("sizeof is for integers here")
        return parse_type(inner).size
    if kind == "BinaryOp":
        return _operate(node.op, evaluate(node.left, names), evaluate(node.right, names))
    raise RefusedError("expected a constant")


def constant(text: str) -> int:
    """The value of an integer in C.

    Raises:
        RefusedError: it is not one.
    """
    digits = text.rstrip("uUlL")
    octal = len(digits) > 1 and digits[0] == "0" and digits.isdigit()
    try:
        return int(digits[:40], 8 if octal else 0)
    except ValueError:
        raise RefusedError(f"{text!r:.40} is not an integer") from None


def _operate(sign: str, left: int, right: int) -> int:
    if sign in ("<<", ">>") and not 0 <= right <= 64:
        raise RefusedError("a shift of more than 64 bits")
    if sign in ("/", "%") and right == 0:
        raise RefusedError("a division by 0")
    if sign not in _OPERATORS:
        raise RefusedError(f"operator {sign} is not for lengths")
    value = _OPERATORS[sign](left, right)
    if abs(value) >= 1 << 64:
        raise RefusedError("a length beyond 64 bits")
    return value


def integer_name(node: Any) -> str:
    """The type of a declaration that is not an array, as a definition writes it."""
    kind = type(node).__name__
    if kind == "PtrDecl":
        raise RefusedError("a pointer; an address in a handover is a u64")
    if kind in ("TypeDecl", "Typename"):
        return integer_name(node.type)
    if kind == "Struct":
        if node.decls is not None or not node.name:
            raise RefusedError("a struct inside; declare it as a struct of its own")
        if node.name in INTEGERS | {"bytes", "string", "char"}:
            raise RefusedError(f"a struct cannot be called {node.name}")
        return str(node.name)
    if kind == "Enum":
        return "u32"
    if kind == "IdentifierType":
        return _named_type(node.names)
    if kind == "Union":
        raise RefusedError("a union; declare the member that is used")
    raise RefusedError("expected an integer, an array or a struct")


def _named_type(names: list[str]) -> str:
    """A type of one word or several, such as ``unsigned long``."""
    words = " ".join(names)
    if words == "char":
        return "char"
    if words in TYPES:
        return TYPES[words]
    size = " ".join(word for word in names if word not in ("signed", "unsigned", "int"))
    if size not in _BITS:
        raise UnknownTypeError
    return f"{'u' if 'unsigned' in names else 's'}{_BITS[size]}"


def open_array(base: str, dimensions: int) -> str:
    """An array without a length, of elements of a type, as a definition writes it."""
    if base == "u8" and dimensions == 1:
        return "bytes[]"
    if dimensions > 1 or base in INTEGERS | {"char"}:
        raise RefusedError("an array of open length is of u8, or of structs")
    return f"{base}[]"


def mentions(node: Any, name: str) -> bool:
    """True if an expression has a name in it."""
    return any(type(one).__name__ == "ID" and one.name == name for one in _nodes(node))


def _nodes(node: Any) -> Iterator[Any]:
    stack = [node]
    while stack:
        item = stack.pop()
        yield item
        stack += [child for _, child in item.children()]
