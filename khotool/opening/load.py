"""Open anything that is a handover: a capture, or a model of one."""

from __future__ import annotations

import os
from os import PathLike

from khotool.decode.decoded import Watch
from khotool.decode.open import open_image
from khotool.errors import InputError
from khotool.limits import OpenOptions, Progress
from khotool.model.image import Image
from khotool.opening.recognise import looks_like_model


def load_image(
    path: str | PathLike[str],
    options: OpenOptions | None = None,
    progress: Progress | None = None,
    watch: Watch | None = None,
) -> Image:
    """Decode a capture, or build a model in memory and decode that.

    Raises:
        InputError: the definition of a format.
        KhotoolError: as ``open_image`` and ``build_model``.
    """
    raw = options is not None and options.base is not None
    if raw or not os.path.isfile(path) or not looks_like_model(os.fspath(path)):
        return open_image(path, options, progress, watch)
    # Captures, which are nearly everything that is opened, need none of the encoder.
    from khotool.abi.registry import load_registry
    from khotool.encode.reopen import image_of
    from khotool.manifest.making import Making
    from khotool.opening.models import build_model, read_model

    options = options or OpenOptions()
    registry = load_registry(options.formats)
    name = os.fspath(path)
    model = read_model(name)
    if "id" in model.document and "abi" not in model.document:
        advice = "add its folder with --formats, check it with 'khotool formats validate'"
        raise InputError(f"{name}: the definition of a format, not an image; {advice}")
    limits = options.limits
    making = Making.of_reader(limits)
    built = build_model(model, registry, making=making, short_rows=limits.short_rows)
    return image_of(built, registry, name)
