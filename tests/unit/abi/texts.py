"""Definition files for tests, as text."""

from __future__ import annotations

from khotool.abi.definition import Definition
from khotool.abi.load import load_definition

HEAD = 'id = "x-v1"\ntitle = "X"\nkind = "file"\ncontent = "x_ser"\nstatus = "local"\n'
TREE = HEAD.replace("x_ser", "fdt")


def struct(
    layout: str, fields: str = "", size: int | str = 8, name: str = "x_ser", more: str = ""
) -> str:
    """A struct: its members in C, one line each, and the table of their meanings."""
    members = layout.strip().replace("; ", ";\n")
    meanings = f"[struct.{name}.fields]\n{fields}\n" if fields else ""
    return f"[struct.{name}]\n{more}size = {size}\nlayout = '''\n{members}\n'''\n{meanings}"


def file(layout: str, fields: str = "", size: int | str = 8, more: str = "") -> str:
    """A definition whose content is one struct."""
    return HEAD + more + struct(layout, fields, size)


def tree(*properties: str, more: str = "") -> str:
    """A definition whose content is a tree."""
    rows = "".join(f"{row}\n" for row in properties)
    return f"{TREE}[fdt]\n[fdt.properties]\n{rows}{more}"


def load(text: str, name: str = "x.toml") -> Definition:
    """A definition from text."""
    return load_definition(text.encode(), name)
