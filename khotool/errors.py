"""Errors that a user sees as one line; each names the exit code of docs/reference/cli.md."""

from __future__ import annotations

from collections.abc import Sequence


class KhotoolError(Exception):
    """Base of every error khotool raises on purpose. The message says what, where, what next."""

    exit_code = 3

    @property
    def lines(self) -> tuple[str, ...]:
        """What is shown, one line for each thing that is wrong."""
        return (str(self),)


class UsageError(KhotoolError):
    """The command line asks for something that does not exist or does not fit together."""

    exit_code = 2


class DefinitionError(KhotoolError):
    """A file of ABI definitions does not follow the vocabulary.

    Args:
        where: file, and line, table or key inside it.
        message: what was found and what was expected.
        mistakes: all mistakes of the file, if there are several.
    """

    exit_code = 2

    def __init__(self, where: str, message: str, mistakes: Sequence[str] = ()) -> None:
        super().__init__(f"{where}: {message}")
        self.where = where
        self.reason = message
        self.mistakes = tuple(mistakes)


class InputError(KhotoolError):
    """The input cannot be opened, or is none of the containers khotool knows."""


class EncodeError(KhotoolError):
    """A model cannot be written.

    Args:
        path: path of the value in the model, such as ``/LUO/sessions[a]/files[0x1]/token``.
        message: what was found and what was expected.
    """

    def __init__(self, path: str, message: str) -> None:
        super().__init__(f"{path}: {message}")
        self.path = path
