"""Model files: what is opened, what is refused, and edits of a dump's readable half."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from khotool.cli.main import main
from khotool.document.digest import edited, seal
from khotool.document.dump import dump_document
from khotool.encode.reopen import image_of
from khotool.errors import EncodeError, InputError, UsageError
from khotool.opening.load import load_image
from khotool.opening.models import Model, build_model, read_model
from khotool.structured import StructuredError
from tests.builders import CAPTURES, REGISTRY, capture
from tests.documents import full_document


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("abi = ", InputError, "neither JSON nor TOML"),
        ("{", InputError, "neither JSON nor TOML"),
        ("\0\1", InputError, "neither JSON nor TOML"),
        ('{"schema": "khotool.pages/1"}', EncodeError, "schema is 'khotool.pages/1', expected"),
        ('{"schema": "khotool.dump/1"}', EncodeError, "write it with khotool dump --json --full"),
    ],
)
def test_files_that_are_no_model(
    text: str, kind: type[Exception], message: str, tmp_path: Path
) -> None:
    """A file that is no model says what it is and what to do."""
    path = tmp_path / "m"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(kind, match=re.escape(message)):
        read_model(path)
    with pytest.raises(InputError, match="name a model that exists"):
        read_model(tmp_path / "nowhere")


def test_manifest_cannot_be_preserved(tmp_path: Path) -> None:
    """A manifest has no addresses."""
    with pytest.raises(UsageError, match="a manifest has no addresses to preserve"):
        build_model(Model.of(tmp_path / "m.toml", {"abi": "7.2"}), REGISTRY, mode="preserve")


def test_output_is_not_the_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """-o onto the model is refused, by any name; nothing is written."""
    model = tmp_path / "model.toml"
    model.write_text('abi = "7.2"\n', encoding="utf-8")
    (tmp_path / "link").symlink_to(model)
    for name in (model, tmp_path / "link", tmp_path / "." / "model.toml"):
        assert main(["encode", str(model), "-o", str(name)]) == 2
        assert "is the input itself" in capsys.readouterr().err
    assert model.read_text(encoding="utf-8") == 'abi = "7.2"\n'
    image = tmp_path / "image.elf"
    assert main(["encode", "-q", str(model), "-o", str(image)]) == 0
    before = image.read_bytes()
    for command in (["pack"], ["convert", "--to", "7.1"]):
        assert main([*command, str(image), "-o", str(image)]) == 2
    assert image.read_bytes() == before


def test_existing_output_survives_a_failure(tmp_path: Path) -> None:
    """An output that exists is replaced by a complete one or not at all; nothing is left over."""
    output = tmp_path / "out.elf"
    output.write_bytes(b"before")
    (tmp_path / "bad.toml").write_text('abi = "7.2"\nsession = 3\n', encoding="utf-8")
    (tmp_path / "good.toml").write_text('abi = "7.2"\nmachine = "vax"\n', encoding="utf-8")
    for name in ("bad.toml", "good.toml"):
        assert main(["encode", str(tmp_path / name), "-o", str(output)]) == 3
        assert output.read_bytes() == b"before"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.toml", "good.toml", "out.elf"]
    (tmp_path / "good.toml").write_text('abi = "7.2"\n', encoding="utf-8")
    assert main(["encode", "-q", str(tmp_path / "good.toml"), "-o", str(output)]) == 0
    assert output.read_bytes()[:4] == b"\x7fELF"


@pytest.mark.parametrize("flags", [[], ["-o", "-"], ["-o", "."]])
def test_output_is_a_file(flags: list[str], tmp_path: Path) -> None:
    """An image goes to a file that is named."""
    model = tmp_path / "m.toml"
    model.write_text('abi = "7.2"\n', encoding="utf-8")
    assert main(["encode", str(model), *flags]) == 2


def test_manifest_opens_as_an_image(tmp_path: Path) -> None:
    """What shows images opens a manifest too, under its own name."""
    path = tmp_path / "model.toml"
    path.write_text('abi = "7.2"\n')
    image = load_image(path)
    assert image.info.path == str(path)
    assert image.entry("LUO") is not None


def test_memory_is_for_fresh_layouts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """--memory has nothing to say where addresses are kept."""
    model = tmp_path / "m.json"
    model.write_text(json.dumps(dump("linux-6.17.8")))
    output = ["-o", str(tmp_path / "o.elf"), "--memory", "0x80000000+64M"]
    assert main(["encode", str(model), *output]) == 2
    assert "add --mode fresh" in capsys.readouterr().err
    assert main(["encode", "-q", str(model), *output, "--mode", "fresh"]) == 0
    root = load_image(tmp_path / "o.elf").tree.span
    assert root is not None
    assert root.address == 0x8000_0000


# -- edits of the readable half --------------------------------------------------------------


def dump(name: str) -> dict[str, Any]:
    """A full dump as a file has it."""
    image = capture(name)
    made = seal({**dump_document(image), **full_document(image)})
    return dict(json.loads(json.dumps(made)))


def encoded(document: dict[str, Any]) -> dict[str, Any]:
    """What an image of a document dumps."""
    built = build_model(Model.of(Path("m.json"), document), REGISTRY)
    return dump_document(image_of(built, REGISTRY))


@pytest.mark.parametrize("name", CAPTURES)
def test_nothing_is_edited_in_a_fresh_dump(name: str) -> None:
    """A dump as it was written has no edits, and says what its image says."""
    document = dump(name)
    assert edited(document) == set()
    made = encoded(document)
    for key in ("root", "entries", "luo"):
        assert made.get(key) == document.get(key)


def test_edited_values_are_in_the_image() -> None:
    """Text, numbers, parts of words and properties of trees take the value that is written."""
    document = dump("linux-7.3.4")
    luo = document["luo"]
    luo["sessions"][0]["name"] = "edited"
    luo["sessions"][0]["files"][0]["token"] = "0x77"
    luo["sessions"][0]["files"][0]["payload"] |= {"pos": 4097, "seals": "F_SEAL_WRITE (0x8)"}
    luo["liveupdate_number"] = 9
    document["entries"][0]["value"]["regions"][0]["name"] = "other"
    made = encoded(document | {"luo": luo})
    assert made["luo"]["sessions"][0]["name"] == "edited"
    assert made["luo"]["sessions"][0]["files"][0]["token"] == "0x77"
    assert made["luo"]["sessions"][0]["files"][0]["payload"]["seals"] == 8
    assert made["luo"]["liveupdate_number"] == 9


WRONG: list[tuple[str, Any, str]] = [
    ("memory.preserved_pages", 1, "memory: follows from other values and cannot be edited"),
    ("scratch", [], "scratch: follows from other values and cannot be edited"),
    ("luo.sessions[0].name", "x" * 65, "luo.sessions[0].name: 65 bytes; at most 64 fit"),
    ("luo.sessions[0].name", 7, "luo.sessions[0].name: expected a value such as 'vm-alpha'"),
    ("luo.sessions[0].files[0].token", -1, "files[0].token: -0x1 does not fit 64 bits"),
    ("luo.sessions", [], "luo.sessions: 0 elements instead of 4: nothing can be added or removed"),
    ("luo.sessions[0].colour", 1, "luo.sessions[0].colour: is not in the image"),
    ("entries[0].format", "other", "entries[0].format: follows from other values"),
    ("root.address", "0x1000", "root.address: follows from other values"),
    ("root.compatible", "kho-v", "5 bytes; text of a device tree keeps its 6"),
]


@pytest.mark.parametrize(("key", "value", "message"), WRONG, ids=[w[0] for w in WRONG])
def test_edits_that_cannot_be_written(key: str, value: Any, message: str) -> None:
    """What has no place of its own, or does not fit it, is an error with its key."""
    document = dump("linux-7.3.4")
    steps = [int(s) if s.isdigit() else s for s in re.findall(r"\w+", key)]
    holder: Any = document
    for step in steps[:-1]:
        holder = holder[step]
    holder[steps[-1]] = value
    with pytest.raises(EncodeError, match=re.escape(message)):
        encoded(document)


def test_only_one_half_is_edited() -> None:
    """Regions can be edited as ever; edits of both halves contradict each other."""
    document = dump("linux-7.3.4")
    region = next(r for r in document["model"]["regions"] if "name" in r.get("fields", {}))
    region["fields"]["name"] = "region"
    assert edited(document) == {"regions"}
    assert "region" in [session["name"] for session in encoded(document)["luo"]["sessions"]]
    document["luo"]["liveupdate_number"] = 9
    with pytest.raises(EncodeError, match="both this and the readable part are edited"):
        encoded(document)


def test_edits_agree() -> None:
    """A value that the document has twice is edited in one place, or alike in both."""
    document = dump("linux-7.3.4")
    entry = next(entry for entry in document["entries"] if entry["name"] == "LUO")
    entry["value"]["liveupdate_number"] = 5
    document["luo"]["liveupdate_number"] = 6
    with pytest.raises(EncodeError, match="liveupdate_number: is the same value as"):
        encoded(document)


@pytest.mark.parametrize("machine", [[1], 7, True, {}])
def test_machine_of_a_dump_is_a_name(machine: object, tmp_path: Path) -> None:
    """Anything else is a mistake of the document with its key."""
    document = full_document(capture(CAPTURES[0]))
    document["model"]["machine"] = machine
    with pytest.raises(StructuredError, match=r"model\.machine: expected a string"):
        build_model(Model.of(tmp_path / "m.json", document), REGISTRY)
