"""Reach what `transformers` reads from a folder or from Hugging Face's hub, with errors that say what to do."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from kdcourse.errors import ArgumentError, DataError

_LOOK = "Check the path or the name; a name is looked up on Hugging Face's hub, which needs a network."


def transformers(what: str) -> Any:
    """Return the library `transformers`, which ``what`` needs.

    Raises:
        ArgumentError: it isn't installed.
    """
    try:
        import transformers as library
    except ImportError as error:
        raise ArgumentError(
            f"{what} needs the library transformers, which isn't installed. Install it with "
            "pip install 'kdcourse[transformers]'."
        ) from error
    return library


def check_there(where: str) -> None:
    """Raise `DataError` if ``where`` can be a folder alone, and there is none."""
    if not Path(where).is_dir() and (
        where.startswith(".") or Path(where).is_absolute() or where.count("/") > 1
    ):
        raise DataError(f"There is no folder {where}. {_LOOK}")


def unreadable(what: str, why: str) -> DataError:
    """Return the error that says what can't be read and why, two parts of a sentence, and where to look."""
    return DataError(f"{what}: {why} {_LOOK}")


def first_line(error: Exception) -> str:
    """Return the first line of an error of Hugging Face's libraries, which say much, as a sentence."""
    return str(error).strip().partition("\n")[0][:300].rstrip(".:") + "."
