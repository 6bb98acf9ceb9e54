"""The file that an image is read from: whole, or cut short."""

from __future__ import annotations

from khotool.check.context import Context
from khotool.check.rule import rule
from khotool.memory.space import Part

PARTS = {
    Part.PAGES: "pages",
    Part.SEGMENTS: "segments",
    Part.RANGES: "the rest of a range of memory",
    Part.HEADERS: "headers",
    Part.RECORDS: "records at the end",
    Part.FILES: "the other files of a split dump",
    Part.STREAM: "the end of the compressed stream",
    Part.DUMP: "what the dumper had no room for",
}
"""What a finding calls a part that is missing."""


@rule("MEM323", when_consumed=True)
def check_container(context: Context) -> None:
    """Parts that the container promises and the file does not hold."""
    info = context.image.info
    for lack in info.lacks:
        data: dict[str, int | str] = {"container": info.container, "part": str(lack.part)}
        count = ""
        if lack.missing:
            data["missing"], data["of"] = lack.missing, lack.of
            count = f"{lack.missing} of {lack.of} "
        text = f"the capture is incomplete: {count}{PARTS[lack.part]} missing"
        context.report("MEM323", "/", text, None, **data)
