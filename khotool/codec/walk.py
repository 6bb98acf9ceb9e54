"""What a codec is given to walk with: a scene to read, a recorder to write."""

from __future__ import annotations

from collections.abc import Iterable

from khotool.absent import Absent, Reason
from khotool.codec.problems import SHAPE_RULES, ShapeProblem, with_limit_hint
from khotool.codec.recorder import Recorder
from khotool.codec.scene import Scene
from khotool.model.node import Node, NodeKind, Span
from khotool.records import dataclass, replace


@dataclass(frozen=True, eq=False, slots=True)
class Walk:
    """One walk over one image: what is known goes in, what is found comes out."""

    scene: Scene
    recorder: Recorder

    @classmethod
    def over(cls, scene: Scene) -> Walk:
        """A walk that has found nothing yet."""
        return cls(scene, Recorder(scene.limits))

    def knowing(self, scene: Scene) -> Walk:
        """The same walk, with more known of the image."""
        return replace(self, scene=scene)

    def claim(self, node: Node, address: int, size: int) -> None:
        """Claim ``size`` bytes at a physical address for the owner of ``node``."""
        self.recorder.claim(owner_path(node), address, size)

    def absent(self, node: Node, address: int, absent: Absent) -> None:
        """Say that a pointer leads to memory that is not there."""
        if self.scene.space.info.container not in ("debugfs", "fdt"):
            self.recorder.report("MEM301", node, f"{address:#x}: {absent.detail}", address)

    def missing(self, node: Node, address: int, absent: Absent) -> None:
        """A target that is not there: the pointer keeps its value, a child says why."""
        self.absent(node, address, absent)
        node.target = Span(address, 0)
        node.add(Node("target", NodeKind.VALUE, value=absent))

    def problems(self, node: Node, problems: Iterable[ShapeProblem]) -> None:
        """Report what a shape met."""
        for problem in problems:
            text = problem.text
            if problem.code == "missing":
                self.absent(node, problem.address, Absent(Reason.NOT_CAPTURED, text))
                continue
            self.recorder.report(
                SHAPE_RULES[problem.code],
                node,
                with_limit_hint(problem.code, text),
                problem.address,
                code=problem.code,
                **problem.data,
            )


def owner_path(node: Node) -> str:
    """The part of the handover that memory reached from ``node`` belongs to."""
    current: Node | None = node
    while current is not None and current.parent is not None:
        if current.kind is NodeKind.ENTRY or (current.key is not None and not current.name):
            return current.path
        current = current.parent
    return "/"
