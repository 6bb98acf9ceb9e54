"""The ends of every range, and models that are wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from khotool.cli.main import main
from khotool.document.full import full_document
from khotool.encode.lift import handover_of
from khotool.encode.reopen import image_of
from khotool.errors import EncodeError, InputError, KhotoolError, UsageError
from khotool.opening.models import Model, build_model, read_model
from tests.builders import REGISTRY, build, capture, decode, worst
from tests.strategies import meaning, share

FILE: dict[str, Any] = {"token": 1, "size": 4096}


def session(*files: dict[str, Any], name: str = "s") -> list[dict[str, Any]]:
    return [{"name": name, "file": list(files)}]


def with_file(**keys: Any) -> dict[str, Any]:
    return {"abi": "7.2", "session": session(FILE | keys)}


# -- 64-bit edges ----------------------------------------------------------------------------


def test_largest_token() -> None:
    """Token, position and update number of 64 ones."""
    most = (1 << 64) - 1
    image = decode(with_file(token=most, pos=most) | {"liveupdate_number": most})
    luo = image.entry("LUO")
    assert luo is not None
    assert luo.value_of("liveupdate_number") == most
    (file,) = meaning(handover_of(image))["LUO"]["sessions"][0]["files"]
    assert (file["token"], file["data"]["at"]["pos"]) == (most, most)


@pytest.mark.parametrize("abi", ["6.16", "6.19", "7.2"])
def test_top_of_physical_memory(abi: str) -> None:
    """All memory just below 2^52: every address decodes, and ownership is exact."""
    top = (1 << 52) - (1 << 28)
    manifest: dict[str, Any] = {
        "abi": abi,
        "memory": [{"start": top, "size": 1 << 28}],
        "kho_test": {"orders": [0, 10]},
    }
    image = decode(manifest)
    assert image.tree.span is not None
    assert image.tree.span.address >= top
    assert worst(image) == []
    ownership = image.ownership()
    assert ownership is not None
    assert (ownership.unowned_pages, ownership.unpreserved_pages) == (0, 0)


def test_a_tebibyte_in_huge_folios() -> None:
    """1 TiB without contents: half a million folios of order 9, and a small image."""
    built = build(with_file(size="1T", folio="huge"))
    assert sum(len(data) for _, data in built.segments) < 16 << 20
    image = image_of(built, REGISTRY)
    ownership = image.ownership()
    assert ownership is not None
    assert ownership.unpreserved_pages == ownership.unowned_pages == 0
    assert ownership.preserved_pages > 1 << 28
    node = next(node for node in image.tree.walk() if node.name == "folios")
    assert node.table is not None
    assert len(node.table) == 1 << 19
    assert worst(image) == []


def test_many_folios() -> None:
    """A table over many chunks: every row comes back."""
    image = decode(with_file(size=4096 * 150_000))
    node = next(node for node in image.tree.walk() if node.name == "folios")
    assert node.table is not None
    assert node.table.column("index").tolist() == list(range(150_000))
    assert len([child for child in node.children if child.name == "chunks"]) == 2
    assert worst(image) == []


@pytest.mark.parametrize("rows", [511 * 256 - 1, 511 * 256, 511 * 256 + 1])
def test_full_chunks(rows: int) -> None:
    """A chunk that is exactly full is read to its end and no further."""
    image = decode(with_file(size=4096 * rows))
    node = next(node for node in image.tree.walk() if node.name == "folios")
    assert node.table is not None
    assert len(node.table) == rows
    assert worst(image) == []


def test_more_sessions_than_an_array_holds() -> None:
    """luo-v5 takes any number, luo-v1 819: the error names the limit."""
    many = [{"name": f"s{number}"} for number in range(2000)]
    image = decode({"abi": "7.2", "session": many})
    assert len(meaning(handover_of(image))["LUO"]["sessions"]) == 2000
    assert worst(image) == []
    decode({"abi": "7.1", "session": many[:819]})
    with pytest.raises(EncodeError, match="820 records; luo-session-v2 takes at most 819"):
        build({"abi": "7.1", "session": many[:820]})


def test_more_files_than_an_array_holds() -> None:
    """luo-v5 takes any number of files in a session, luo-v1 128."""
    many = [{"token": number, "size": 0} for number in range(1000)]
    image = decode({"abi": "7.2", "session": session(*many)})
    assert len(meaning(handover_of(image))["LUO"]["sessions"][0]["files"]) == 1000
    assert worst(image) == []
    decode({"abi": "6.19", "session": session(*many[:128])})
    with pytest.raises(EncodeError, match=r"sessions\[s\]/files: 129 records; .* at most 128"):
        build({"abi": "6.19", "session": session(*many[:129])})


def test_flbs_fill_one_page() -> None:
    """63 FLBs fit the page, 64 do not."""
    many = [{"name": f"flb{number}"} for number in range(64)]
    decode({"abi": "7.2", "flb": many[:63]})
    with pytest.raises(EncodeError, match="64 records; luo-v5 takes at most 63"):
        build({"abi": "7.2", "flb": many})


def test_memory_that_is_used_up() -> None:
    """Too little memory is an error that says what did not fit."""
    with pytest.raises(EncodeError, match="memory is used up; 57344 bytes more are needed"):
        build(
            {
                "abi": "7.2",
                "memory": [{"start": 1 << 20, "size": 8192 * 4}],
                "session": session(FILE | {"folio": 1, "size": 8192 * 9}),
            }
        )


def test_fixed_regions_come_first() -> None:
    """A region with a place of its own gets it, wherever khotool would have put the root."""
    image = decode(
        {
            "abi": "7.2",
            "kho_test": {"orders": [0]},
            "reserve_mem": [
                {"name": "a", "size": 8192, "start": 1 << 20},
                {"name": "b", "size": 12288, "start": (1 << 20) + 8192},
            ],
        }
    )
    entry = image.entry("memblock")
    assert entry is not None
    regions = entry.get("regions")
    assert regions is not None
    assert [r.value_of("start") for r in regions.elements()] == [1 << 20, (1 << 20) + 8192]
    ownership = image.ownership()
    assert ownership is not None
    assert (ownership.unowned_pages, ownership.double_owned_pages) == (0, 0)
    for start in (0x400_0000, 1 << 51, 0x2000):
        with pytest.raises(EncodeError, match=f"{start:#x}\\+0x1000 is not free"):
            build({"abi": "7.2", "reserve_mem": [{"name": "a", "size": 4096, "start": start}]})


# -- manifests that are wrong ----------------------------------------------------------------

WRONG: list[tuple[dict[str, Any], str]] = [
    ({}, "abi: this key is needed"),
    ({"abi": 7}, "abi: expected a string, found 7"),
    ({"abi": "6.15"}, "abi: unknown kernel release '6.15'; the nearest that khotool knows is 6.16"),
    ({"abi": "7.2", "sesion": []}, "sesion: unknown key; expected one of abi, page_size"),
    ({"abi": "7.2", "session": {}}, "session: expected a list of tables"),
    ({"abi": "7.2", "session": [1]}, "session[0]: expected a table"),
    ({"abi": "7.2", "session": [{}]}, "session[0].name: this key is needed"),
    ({"abi": "7.2", "session": session(name="")}, "session[0].name: a name has at least one"),
    ({"abi": "7.2", "session": session(name="x" * 64)}, "session[0].name: 64 bytes; at most 63"),
    ({"abi": "7.2", "session": session(name="a\0")}, "session[0].name: a NUL cannot stand"),
    ({"abi": "7.2", "session": session(name="\ud800")}, "session[0].name: '\\ud800' holds"),
    ({"abi": "7.2", "session": session({})}, "session[0].file[0].token: this key is needed"),
    (with_file(token=-1), "session[0].file[0].token: -0x1 does not fit 64 bits"),
    (with_file(token=1 << 64), "file[0].token: 0x10000000000000000 does not fit 64 bits"),
    (with_file(token="one"), "session[0].file[0].token: 'one' is not a number"),
    (with_file(token=True), "session[0].file[0].token: expected a number, found True"),
    (with_file(size="16000000T"), "file[0].size: "),
    (with_file(size=1 << 63), "file[0].size: more than 67108864 folios; larger ones are folio"),
    (with_file(colour=1), "session[0].file[0].colour: unknown key; expected one of handler"),
    (with_file(folio="large"), "file[0].folio: expected 'small', 'huge' or a page order"),
    (with_file(folio=True), "file[0].folio: expected 'small', 'huge' or a page order"),
    (with_file(folio=19), "file[0].folio: expected 'small', 'huge' or a page order"),
    (with_file(seals=["F_SEAL_FATE"]), "seals: 'F_SEAL_FATE' is none of F_SEAL_SEAL"),
    (with_file(seals=[{}]), "seals: {} is none of F_SEAL_SEAL"),
    (with_file(holes=3), "file[0].holes: expected a list of [first page, pages]"),
    (with_file(holes=[[1]]), "file[0].holes: expected a list of [first page, pages]"),
    (with_file(holes=[[-1, 2]]), "file[0].holes: -1 and 2 are no range of pages"),
    (with_file(holes=[["a", 2]]), "file[0].holes: 'a' is not a number"),
    (with_file(contents="noise"), "contents: expected 'none', 'zero', or one of pattern"),
    (with_file(contents={"fill": 300}), "contents.fill: expected one ASCII character or a numb"),
    (with_file(contents={"fill": "é"}), "contents.fill: expected one ASCII character"),
    (with_file(contents={"pattern": "x"}), "contents.pattern: 'x' is no pattern; 'page' is"),
    (with_file(contents={"hex": "0"}), "contents.hex: cannot be read"),
    (with_file(contents={"hex": "00" * 4097}), "4097 bytes of contents, but size is 4096"),
    (with_file(contents={"file": "nowhere"}), "contents.file: cannot be read"),
    (with_file(contents={"file": 7}), "contents.file: cannot be read"),
    (with_file(size="1T", folio="huge", contents={"fill": 0}), "contents: 1099511627776 bytes; a"),
    (with_file(fields=7), "file[0].fields: expected a table"),
    (with_file(fields={"speed": 7}), "file[0].fields.speed: unknown key; expected one of pos"),
    (with_file(handler="x" * 48), "file[0].handler: 48 bytes; at most 47 fit"),
    (with_file(handler="own-v1", fields={}), "file[0].handler: no definition of 'own-v1'"),
    ({"abi": "6.19", "session": session(FILE | {"seals": 1})}, "seals: memfd-v1 does not carry"),
    ({"abi": "6.18", "session": []}, "session: set 6.18 has no live update orchestrator"),
    ({"abi": "6.19", "flb": [{"name": "x"}]}, "flb: set 6.19 does not carry FLBs"),
    ({"abi": "7.2", "flb": [{"name": "x" * 48}]}, "flb[0].name: 48 bytes; at most 47 fit"),
    ({"abi": "7.0", "kexec_metadata": {}}, "kexec_metadata: set 7.0 does not carry it"),
    ({"abi": "7.2", "kexec_metadata": {"version": 1 << 32}}, "version: 0x100000000 does not fit"),
    ({"abi": "7.2", "page_size": 8192}, "page_size: 8192 is none of (4096, 16384, 65536)"),
    ({"abi": "7.2", "endian": "middle"}, "endian: 'middle' is neither 'little' nor 'big'"),
    ({"abi": "7.2", "machine": "vax"}, "machine: 'vax' is none of"),
    ({"abi": "7.2", "memory": [{"start": 1, "size": 4096}]}, "memory[0]: not aligned to pages"),
    ({"abi": "7.2", "memory": [{"start": 0, "size": 0}]}, "memory[0]: empty, or beyond the phy"),
    ({"abi": "7.2", "memory": [{"start": 1 << 52, "size": 4096}]}, "memory[0]: empty, or beyond"),
    ({"abi": "7.2", "reserve_mem": [{"name": "a", "size": 1}]}, "[0].size: expected whole pages"),
    (
        {"abi": "7.2", "reserve_mem": [{"name": "a", "size": 4096, "align": 3}]},
        "reserve_mem[0].align: expected a power of two of at least a page",
    ),
    ({"abi": "7.2", "reserve_mem": [{"name": "a/b", "size": 4096}]}, "'a/b' is no node name"),
    (
        {"abi": "7.2", "reserve_mem": [{"name": "x" * 16, "size": 4096}]},
        "reserve_mem[0].name: 16 bytes; at most 15 fit",
    ),
    (
        {"abi": "7.2", "reserve_mem": [{"name": f"r{i}", "size": 4096} for i in range(9)]},
        "reserve_mem: 9 regions; a kernel has at most 8",
    ),
    ({"abi": "7.2", "kho_test": {"orders": [11]}}, "kho_test.orders: expected a list of page o"),
    ({"abi": "7.2", "kho_test": {"orders": [True]}}, "kho_test.orders: expected a list of page"),
    ({"abi": "7.2", "kho_test": {"csum": 1 << 32}}, "csum: 0x100000000 does not fit 32 bits"),
    ({"abi": "7.2", "mutate": 7}, "mutate: expected a list of tables"),
    ({"abi": "7.2", "mutate": [{"op": "burn"}]}, "mutate[0].op: expected one of poke, truncate"),
    ({"abi": "7.2", "mutate": [{"op": []}]}, "mutate[0].op: expected one of poke"),
    ({"abi": "7.2", "mutate": [{"op": "poke", "path": "/no"}]}, "mutate[0].path: no '/no' in"),
    ({"abi": "7.2", "mutate": [{"op": "poke"}]}, "mutate[0].path: expected a path, as dump"),
    (
        {"abi": "7.2", "mutate": [{"op": "poke", "path": "/memory_map", "value": 1 << 64}]},
        "mutate[0]: 0x10000000000000000 does not fit 64 bits",
    ),
    (
        {"abi": "7.2", "mutate": [{"op": "poke", "address": 4096, "bytes": "00"}]},
        "mutate[0]: 0x1000 is not in the image",
    ),
    ({"abi": "7.2", "mutate": [{"op": "leak", "address": -1}]}, "mutate[0].address: -0x1 does"),
    ({"abi": "7.2", "mutate": [{"op": "leak", "address": 0, "order": 64}]}, "mutate[0].order: ex"),
    ({"abi": "7.2", "mutate": [{"op": "cycle", "path": "/"}]}, "mutate[0].path: / is no linked"),
]


@pytest.mark.parametrize(("manifest", "message"), WRONG, ids=[m for _, m in WRONG])
def test_wrong_manifests(manifest: dict[str, Any], message: str, tmp_path: Path) -> None:
    """Each mistake is one error that names file, key and what was expected."""
    from khotool.encode.segments import write_image

    with pytest.raises(EncodeError, match=re.escape(message)) as caught:
        write_image(tmp_path / "x.elf", build(manifest))
    assert str(caught.value).startswith("model.toml") or "machine" in message
    assert not (tmp_path / "x.elf").exists()


VALUES = [
    None,
    True,
    -1,
    0,
    1,
    3,
    1 << 40,
    1 << 52,
    1 << 64,
    1.5,
    "",
    "x",
    "0x10",
    "9K",
    "huge",
    "\ud800",
    "\0",
    [],
    [1],
    {},
    {"a": 1},
    [[1, 2]],
    {"fill": 9},
    "/LUO",
    "6.16",
    "big",
    65536,
]
WHOLE: dict[str, Any] = {
    "abi": "7.2",
    "page_size": 4096,
    "endian": "little",
    "osrelease": "7.3.1",
    "machine": "x86_64",
    "memory": [{"start": 0, "size": 1 << 32}],
    "scratch": [{"start": 1 << 24, "size": 1 << 24}],
    "liveupdate_number": 3,
    "kexec_metadata": {"version": 1, "previous_release": "x", "kexec_count": 3},
    "reserve_mem": [
        {"name": "t", "size": 8192, "start": 1 << 21, "align": 8192, "contents": {"fill": "T"}}
    ],
    "kho_test": {"orders": [0, 1], "csum": 3, "magic": 4},
    "session": session(
        {
            "handler": "memfd-v2",
            "token": 1,
            "size": 20487,
            "pos": 3,
            "seals": ["F_SEAL_WRITE"],
            "folio": 1,
            "holes": [[1, 2]],
            "contents": {"pattern": "page"},
        },
        {"token": 2, "size": 8192, "fields": {"flags": 0}, "contents": {"random": 1}},
    ),
    "flb": [{"name": "liveupdate-test-flb-v0", "data": 7, "count": 2}],
    "mutate": [
        {"op": "poke", "path": "/LUO/liveupdate_number", "value": 7},
        {"op": "duplicate", "from": "/LUO/liveupdate_number", "to": "/memory_map"},
        {"op": "leak", "address": 1 << 21, "order": 2},
        {"op": "truncate", "path": "/LUO/flbs", "size": 40},
    ],
}


def places(document: Any) -> list[tuple[Any, Any]]:
    """Every container of a document with each of its keys."""
    found, stack = [], [document]
    while stack:
        item = stack.pop()
        keys = item if isinstance(item, dict) else range(len(item))
        for key in list(keys):
            found.append((item, key))
            if isinstance(item[key], (dict, list)):
                stack.append(item[key])
    return found


def changed(data: st.DataObject, document: Any) -> None:
    """Replace or remove a few values anywhere."""
    for _ in range(data.draw(st.integers(1, 3))):
        container, key = data.draw(st.sampled_from(places(document)))
        if data.draw(st.integers(0, 9)) == 0:
            del container[key]
        else:
            container[key] = json.loads(json.dumps(data.draw(st.sampled_from(VALUES))))


@settings(max_examples=share(1))
@given(st.data())
def test_any_change_of_a_manifest(data: st.DataObject) -> None:
    """Whatever stands at any key of a manifest: an image, or an error that names the file."""
    document = json.loads(json.dumps(WHOLE))
    changed(data, document)
    try:
        build(document)
    except (EncodeError, UsageError) as error:
        message = str(error)
    else:
        message = "model.toml"
    assert message.startswith("model.toml")


@settings(max_examples=share(1))
@given(st.data())
def test_any_change_of_a_dump(data: st.DataObject) -> None:
    """Whatever stands at any key of a full dump: an image, or one declared error."""
    name = data.draw(st.sampled_from(["linux-6.17.8", "linux-6.19.11", "linux-7.3.4"]))
    document = json.loads(dumped(name))
    changed(data, document["model"])
    mode = data.draw(st.sampled_from(["preserve", "fresh"]))
    try:
        build_model(Model(Path("m.json"), document, True), REGISTRY, mode=mode)
    except KhotoolError as error:
        message = str(error)
    else:
        message = "fine"
    assert message


TEXTS: dict[str, str] = {}


def dumped(name: str) -> str:
    if name not in TEXTS:
        TEXTS[name] = json.dumps(full_document(capture(name)))
    return TEXTS[name]


# -- files -----------------------------------------------------------------------------------


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
        build_model(Model(tmp_path / "m.toml", {"abi": "7.2"}, False), REGISTRY, mode="preserve")


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


@pytest.mark.parametrize("wrong", [[1, 2], [1.5], [True], [-1], [1 << 64], ["x"], [[1]], "x", None])
def test_columns_of_a_table_are_numbers(wrong: Any) -> None:
    """Another length, a fraction, a list inside: an error with the path of the column."""
    document = json.loads(dumped("linux-6.19.11"))
    table = next(r for r in document["model"]["regions"] if "table" in r and r["columns"]["pfn"])
    table["columns"]["index"] = wrong
    table["columns"]["pfn"] = [1]
    table["columns"]["flags"] = [0]
    with pytest.raises(EncodeError, match=re.escape(table["path"])):
        build_model(Model(Path("m.json"), document, True), REGISTRY)
