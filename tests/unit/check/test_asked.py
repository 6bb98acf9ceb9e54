"""The kernels that can be asked, policies, and whose state is lost."""

from __future__ import annotations

import gzip
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from khotool.abi.registry import Registry, load_registry
from khotool.check.kernels import judge, verdict_document
from khotool.check.kernels.asked import Contains, Direction, asked_file, asked_kernel, direction
from khotool.check.kernels.policy import Decision, Importance, Policy, read_policy
from khotool.check.kernels.verdict import Outcome
from khotool.cli.main import main
from khotool.decode.open import open_image
from khotool.errors import UsageError
from khotool.opening.load import load_image
from khotool.structured import StructuredError
from tests.unit.authoring.btf_builder import BtfBuilder
from tests.unit.authoring.elf_builder import elf
from tests.unit.check.damage import FIXTURES
from tests.unit.lab.test_kernelfile import bzimage

GOOD = FIXTURES / "real" / "linux-7.3.4" / "image.elf.xz"
STRANGE = FIXTURES / "verdicts" / "file-handler-unknown" / "image.elf.xz"
DUPLICATE = FIXTURES / "verdicts" / "folio-index-duplicate" / "image.elf.xz"


@pytest.fixture(scope="module")
def registry() -> Registry:
    return load_registry()


def test_what_is_queued_is_marked(registry: Registry) -> None:
    """``next`` is a kernel, and says that it is none yet."""
    asked = asked_kernel("next", registry)

    assert asked.document() == {"set": "next", "status": "queued"}
    assert judge(open_image(GOOD), asked).outcome is Outcome.ACCEPT
    with pytest.raises(UsageError, match="nxt"):
        asked_kernel("nxt", registry)


def test_direction(registry: Registry) -> None:
    """From the release of the image to the kernel's."""
    found = [direction("7.1.13", asked_kernel(k, registry)) for k in ("6.19", "7.1", "7.3", "next")]

    assert found == [Direction.ROLLBACK, Direction.SAME, Direction.UPGRADE, Direction.UPGRADE]
    assert direction("", asked_kernel("7.3", registry)) is None


def having(*texts: str) -> Contains:
    code = b"Linux version 7.3.4 (x) \0" + b"".join(text.encode() + b"\0" for text in texts)
    return code.__contains__


ALL = ("kho-v4", "luo-v5", "memblock-v1", "kho-test-v1", "memfd-v2")


def test_a_file_registers_what_it_has(registry: Registry) -> None:
    """A string that is not in the file, or only as a part of a longer one, is not registered."""
    asked = asked_file("vmlinux", "7.3.4", having(*ALL), registry)
    less = asked_file("vmlinux", "7.3.4", having(*ALL[:4], "memfd-v22"), registry)

    assert asked.file is not None
    assert asked.file.not_registered == ()
    assert asked.file.exact
    assert less.file is not None
    assert less.file.not_registered == ("memfd-v2",)
    assert judge(open_image(GOOD), asked).outcome is Outcome.ACCEPT
    assert judge(open_image(GOOD), less).outcome is Outcome.PARTIAL


def test_a_file_of_an_unknown_release_has_the_nearest_set(registry: Registry) -> None:
    """Of the sets before it, the last whose root string the file has."""
    newer = asked_file("vmlinux", "9.9.0", having(*ALL), registry)
    older = asked_file("vmlinux", "9.9.0", having("kho-v3"), registry)

    assert (newer.abi.id, older.abi.id) == ("7.2", "7.1")
    assert newer.file is not None
    assert not newer.file.exact
    with pytest.raises(UsageError, match="no release"):
        asked_file("vmlinux", "", lambda _: None, registry)


def test_a_file_that_cannot_be_unpacked_loses_nothing(registry: Registry) -> None:
    """Its release decides, and the verdict says that no string was looked for."""
    asked = asked_file("bzImage", "7.3.4", lambda _: None, registry)

    assert asked.file is not None
    assert (asked.file.strings_read, asked.file.not_registered) == (False, ())


@pytest.mark.parametrize(
    ("machine", "page", "outcome"),
    [
        ("x86_64", 4096, "accept"),
        ("aarch64", 16384, "not-judged"),
        ("x86_64", 16384, "corrupt"),
    ],
)
def test_a_file_of_another_machine(
    registry: Registry, machine: str, page: int, outcome: str
) -> None:
    """No verdict on a kernel of another machine; with other pages the map is misread."""
    asked = asked_file("Image", "7.3.4", having(*ALL), registry, machine=machine, page_size=page)

    assert str(judge(open_image(GOOD), asked).outcome) == outcome


# -- losses and policies ---------------------------------------------------------------------


def test_losses_name_session_token_and_handler() -> None:
    """One file that is refused is one loss, with the line that the kernel prints."""
    (loss,) = judge(open_image(DUPLICATE), "7.3").losses

    assert (loss.session, loss.token, loss.handler) == ("vm-alpha", "0x2", "memfd-v2")
    assert (loss.stage, loss.result) == ("files", "EEXIST")
    assert loss.console.startswith("memfd_luo: shmem: failed to add")
    assert judge(open_image(GOOD), "7.3").losses == ()


def test_everything_is_lost_with_the_handover() -> None:
    """A root that is not taken loses each file, and each session that has none."""
    losses = judge(open_image(GOOD), "6.19").losses

    assert len(losses) == 8
    assert [loss.token for loss in losses if loss.session == "empty"] == [""]
    assert {loss.stage for loss in losses} == {"kho-root"}


def test_an_assumed_handler_takes_its_files(registry: Registry) -> None:
    """The session opens, its files come back on trust, and the verdict says so."""
    image = open_image(STRANGE)
    luo = image.entry("LUO")
    assert luo is not None
    handlers = [node.value for node in luo.walk() if node.name == "handler"]
    strange = next(str(text) for text in handlers if text != "memfd-v2")
    asked = replace(asked_kernel("7.3", registry), assumed=(strange,))
    document = verdict_document(image, asked)

    assert verdict_document(image, "7.3")["outcome"] == "partial"
    assert document["assumed_handlers"] == [strange]
    assert "handler-assumed" in document["unseen"]
    assert document["outcome"] == "accept"


def test_a_policy_decides_by_handler() -> None:
    """Losses of optional handlers do not stop; those of all others do."""
    verdict = judge(open_image(DUPLICATE), "7.3")

    assert Policy().judge(verdict)["decision"] == Decision.STOP
    assert Policy(optional=("memfd-*",)).judge(verdict) == {
        "decision": Decision.PROCEED,
        "mandatory_lost": 0,
        "optional_lost": 1,
    }


def test_the_longest_pattern_of_a_policy_counts() -> None:
    """What is named more closely is meant; what is named twice has to come back."""
    policy = Policy(mandatory=("memfd-*", "same"), optional=("*", "memfd-v1", "same"))

    assert policy.importance("memfd-v2") is Importance.MANDATORY
    assert policy.importance("memfd-v1") is Importance.OPTIONAL
    assert policy.importance("netkit-v1") is Importance.OPTIONAL
    assert policy.importance("same") is Importance.MANDATORY
    assert Policy(("*",), ("netkit-*",)).importance("netkit-v1") is Importance.OPTIONAL


def test_a_policy_is_read(tmp_path: Path) -> None:
    """Lists and a default; mistakes are named."""
    path = tmp_path / "policy.toml"
    path.write_text('mandatory = ["memfd-v2"]\notherwise = "optional"\n')
    policy = read_policy(str(path))

    assert policy.importance("memfd-v2") is Importance.MANDATORY
    assert policy.importance("netkit-v1") is Importance.OPTIONAL
    path.write_text('mandatry = ["memfd-v2"]\n')
    with pytest.raises(StructuredError, match="mandatry"):
        read_policy(str(path))


# -- what is queued --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("old", "new", "panics"),
    [
        ("devices = [{ domain = 0, bdf = 0x100, refcount = 1 }, {", "devices = [{", False),
        ("fields = { devices", "fields = { version = 3, devices", True),
        ("", "", True),
    ],
    ids=["one-device", "version-3", "device-twice"],
)
def test_the_pci_core_that_is_queued_panics(
    tmp_path: Path, old: str, new: str, panics: bool
) -> None:
    """On a device that is listed twice and on another version; a release does not ask for it."""
    recipe = (FIXTURES / "bad" / "REC416-device-twice" / "recipe.toml").read_text()
    path = tmp_path / "recipe.toml"
    path.write_text(recipe.replace(old, new) if old else recipe)
    image = load_image(path)
    stages = {step.stage: step.outcome for step in judge(image, "next").steps}

    assert (stages["flbs"] is Outcome.PANIC) == panics
    assert judge(image, "7.3").outcome is Outcome.PARTIAL


# -- postings --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipe", "kernel", "outcome", "stage"),
    [
        ("luo-posted-v4-sessions", "luo-posted-v4", "not-judged", "sessions"),
        ("luo-posted-v4-sessions", "luo-posted-v5", "partial", "luo"),
        ("luo-posted-v5-sessions-and-flbs", "luo-posted-v4", "panic", "luo"),
        ("luo-rfc-v1-version", "luo-rfc-v1", "not-judged", "sessions"),
        ("kho-v1-lyu-v5-regions", "kho-v1-lyu-v5", "accept", "entries"),
        ("kho-v1-lyu-v5-regions", "kho-v1-graf-v1", "not-judged", "kho-root"),
    ],
)
def test_a_posting_is_judged_by_its_formats(
    recipe: str, kernel: str, outcome: str, stage: str
) -> None:
    """State of another posting stops the boot, or live update; no line is made up."""
    verdict = judge(load_image(FIXTURES / "good" / recipe / "recipe.toml"), kernel)

    assert str(verdict.outcome) == outcome
    assert {step.stage for step in verdict.steps if str(step.outcome) == outcome} >= {stage}
    assert not any(step.console for step in verdict.steps)


# -- types of a kernel's file ----------------------------------------------------------------


def kernel_file(path: Path, btf: bytes, *, payload: bytes = b"") -> str:
    """A bzImage of 7.3.4 with all strings that a capture needs, and types."""
    code = b"Linux version 7.3.4 (x) \0" + b"".join(text.encode() + b"\0" for text in ALL)
    path.write_bytes(bzimage(payload or gzip.compress(elf({".rodata": code, ".BTF": btf}))))
    return str(path)


def verdict_of(path: str, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    main(["check", str(GOOD), "--kernel", path, "--json"])
    found: dict[str, Any] = json.loads(capsys.readouterr().out)["verdict"]
    return found


def test_types_of_a_file_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The BTF of the capture's own kernel agrees with every definition."""
    real = (FIXTURES / "real/linux-7.3.4/vmlinux.btf").read_bytes()

    verdict = verdict_of(kernel_file(tmp_path / "bzImage", real), capsys)

    assert verdict["outcome"] == "accept"
    assert verdict["file"]["structs"] > 10
    assert verdict["file"]["differences"] == []


def test_a_kernel_with_other_structs_is_not_judged(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A kernel that declares a struct of the image in another way reads something else."""
    builder = BtfBuilder()
    word = builder.integer(8)
    builder.group("memfd_luo_folio_ser", 24, [("pfn", word, 0), ("index", word, 128)])
    path = kernel_file(tmp_path / "bzImage", builder.section())

    verdict = verdict_of(path, capsys)

    assert verdict["outcome"] == "not-judged"
    assert "other-layout" in verdict["unseen"]
    assert {d["struct"] for d in verdict["file"]["differences"]} == {"memfd_luo_folio_ser"}
    main(["check", str(GOOD), "--kernel", path])
    assert "1 struct of its BTF compared, one differs" in " ".join(capsys.readouterr().out.split())


@pytest.mark.parametrize(("magic", "name"), [(b"\x02\x21\x4c\x18", "lz4"), (b"\x89LZO\0", "lzo")])
def test_packing_that_is_not_read_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], magic: bytes, name: str
) -> None:
    """One line says what was not looked at, and what to give instead."""
    path = kernel_file(tmp_path / "bzImage", b"", payload=magic + bytes(100))

    assert verdict_of(path, capsys)["file"]["packing"] == f"with {name}"
    main(["check", str(GOOD), "--kernel", path])
    assert f"its code is packed with {name} and was not read" in " ".join(
        capsys.readouterr().out.split()
    )
