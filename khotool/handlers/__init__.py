"""What a definition cannot say: names that programs keep in what they hand over, odd payload.

A handler is an object; khotool brings those of this package, and installed packages add theirs
through the entry points ``khotool.handlers``.
"""

from __future__ import annotations

from functools import cache, partial
from typing import TYPE_CHECKING, TypeVar, cast

from khotool.handlers.protocol import Handler
from khotool.plugins import Plugin, plugins, report, said

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from khotool.extract.plan import Plan
    from khotool.model.image import Image, Node

__all__ = ["GROUP", "Handler", "ask_all", "handlers", "installed_handlers", "payload_of"]

T = TypeVar("T")

GROUP = "khotool.handlers"
"""Entry points that name handlers."""


@cache
def installed_handlers() -> tuple[Handler, ...]:
    """Handlers of installed packages; those that do not load are reported and left out."""
    found: dict[str, Handler] = {}
    for plugin in plugins(GROUP):
        loaded = plugin.load()
        if loaded is not None and (handler := _handler(plugin, loaded)) is not None:
            found[handler.name] = handler
    return tuple(found.values())


def _handler(plugin: Plugin, loaded: object) -> Handler | None:
    """The handler an entry point names: an object, or a class of which one is made."""
    try:
        made = loaded() if isinstance(loaded, type) else loaded
    except Exception as error:  # A package of somebody else.
        plugin.report(said(error))
        return None
    for method in ("annotate", "payload"):
        if not callable(getattr(made, method, None)):
            plugin.report(f"a handler has a method {method}")
            return None
    if not isinstance(getattr(made, "name", None), str):
        plugin.report("a handler has a name")
        return None
    return cast(Handler, made)


def handlers() -> tuple[Handler, ...]:
    """All handlers: built-in ones, then installed ones, which win by name."""
    from khotool.handlers.systemd import Systemd

    found: dict[str, Handler] = {"systemd": Systemd()}
    found.update({handler.name: handler for handler in installed_handlers()})
    return tuple(found.values())


def ask_all(image: Image) -> Iterator[tuple[Node, str]]:
    """What all handlers say of the nodes of an image; one node once, with all that is said."""
    found: dict[Node, list[str]] = {}
    for handler in handlers():
        for node, text in _ask(handler, partial(_annotations, handler, image)) or ():
            found.setdefault(node, []).append(text)
    for node, texts in found.items():
        yield node, "; ".join(texts)


def _annotations(handler: Handler, image: Image) -> list[tuple[Node, str]]:
    """The annotations of one handler, those that are text for a node."""
    from khotool.model.node import Node as ModelNode

    return [
        (node, text)
        for node, text in handler.annotate(image) or ()
        if isinstance(node, ModelNode) and isinstance(text, str) and text
    ]


def payload_of(image: Image, node: Node) -> Plan | None:
    """What an installed handler says that a node stands for; None if none says anything."""
    from khotool.extract.plan import Plan

    for handler in handlers():
        plan: object = _ask(handler, partial(handler.payload, image, node))
        if isinstance(plan, Plan):
            return plan
        if plan is not None:
            what = f"payload() gave {type(plan).__name__}, expected a Plan or None"
            report(f"handler {handler.name!r}: {what}; its answer is not used")
    return None


def _ask(handler: Handler, question: Callable[[], T]) -> T | None:
    """The answer of a handler; one that breaks is told about, and the work goes on."""
    from khotool.errors import KhotoolError

    try:
        return question()
    except KhotoolError:
        raise
    except Exception as error:
        report(f"handler {handler.name!r}: {said(error)}; its answer is not used")
        return None
