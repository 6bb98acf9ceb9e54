"""Whether a copy of an image says what the image says."""

from __future__ import annotations

import json
from typing import Any

from khotool.check.catalogue import count_by_severity
from khotool.check.rules.lists import after_list_ends
from khotool.check.run import check_image
from khotool.document.dump import dump_document
from khotool.encode.pack import pack_image
from khotool.encode.reopen import image_of
from khotool.model.image import Image, Phase
from khotool.render.json import json_chunks

#: Keys of a dump about the handover; the others are about the file.
HANDOVER = ("abi", "root", "memory", "entries", "luo")
#: Rules about contents, which are not packed unless somebody asks for it.
OF_PAYLOAD = ("HND609", "HND621", "HND622", "HND623", "HND624", "HND625", "MEM320")


def told(image: Image) -> dict[str, Any]:
    """What is said of an image: values, and findings but for those about payload."""
    found = [f for f in check_image(image) if f.rule not in OF_PAYLOAD]
    made = dump_document(image, count_by_severity(found))
    said = {key: made[key] for key in HANDOVER if key in made}
    said["findings"] = [[f.rule, f.path, f.address, f.message] for f in found]
    return dict(json.loads("".join(json_chunks(said))))


def packed_says_the_same(image: Image) -> None:
    """Assert that the packed image dumps and checks as the image does."""
    if any(finding.rule.startswith("LIM") for finding in image.findings):
        # A copy is decoded within other limits.
        return
    copy = image_of(pack_image(image, also=after_list_ends(image)), image.registry)
    assert copy.phase is image.phase
    if image.phase is Phase.CONSUMED:
        # Memory that is in use again is not packed, whatever it was taken for.
        return
    before, after = told(image), told(copy)
    for key in before.keys() | after.keys():
        assert before.get(key) == after.get(key), key
