"""Text cleaning before the tokenizer (StreamDiffusionV2 specification 4.8)."""

from __future__ import annotations

import html
from types import ModuleType

from ..errors import PenstockError


def cleaner_name() -> str:
    """Which cleaning `clean_prompt` applies here: "ftfy" where that package is installed, else "basic".

    Both undo HTML escapes and collapse white space. ftfy repairs broken Unicode (mojibake) besides, as the published
    code does; prompts in sound Unicode with plain quotes come out the same either way.
    """
    return "basic" if _import_ftfy() is None else "ftfy"


def clean_prompt(text: str) -> str:
    """The text as the tokenizer gets it: repaired by ftfy if installed, unescaped twice, runs of white space as one.

    Raises PenstockError where it is no text, or holds what UTF-8 cannot express.
    """
    if not isinstance(text, str):
        raise PenstockError(f"prompt: expected text, got {type(text).__name__}")
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise PenstockError(f"prompt: expected valid Unicode text, got {text!r:.80}") from None
    if ftfy := _import_ftfy():
        text = ftfy.fix_text(text)
    return " ".join(html.unescape(html.unescape(text)).split())


def _import_ftfy() -> ModuleType | None:
    try:
        import ftfy
    except ImportError:
        return None
    return ftfy
