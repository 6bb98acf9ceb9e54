"""What the live update orchestrator says of itself."""

from __future__ import annotations

from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.view.luo import Luo


@rule("LUO513")
def check_number(context: Context) -> None:
    """The counter of live updates: luo_fdt_setup() writes that of the kernel before, plus 1."""
    luo = Luo(context.image)
    if luo.node is not None and luo.liveupdate_number == 0:
        context.report("LUO513", luo.node, "the number of the live update is 0; the first is 1")
