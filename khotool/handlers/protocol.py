"""What a handler is asked."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable

    from khotool.extract.plan import Plan
    from khotool.model.image import Image, Node


class Handler(Protocol):
    """What khotool asks a handler; a class that inherits from it writes only what it needs.

    The image is data from somebody else: a handler takes any values, and bounds its work.
    """

    name: str
    """How it is called in messages; one of the same name replaces another."""

    def annotate(self, image: Image) -> Iterable[tuple[Node, str]]:
        """Nodes of an image, and what is to stand beside each; asked once the image is open."""
        return ()

    def payload(self, image: Image, node: Node) -> Plan | None:
        """What ``khotool extract`` writes for a node; None to leave it to the definition.

        Raises:
            KhotoolError: the payload cannot be given; says why.
        """
        return None
