"""One thing in both languages."""

from __future__ import annotations

from typing import NamedTuple

LANGUAGES = ("en", "es")


class Said(NamedTuple):
    """The same thing in both languages."""

    en: str
    es: str

    def in_(self, language: str) -> str:
        """In `language` ("es", "es-CL"), or in English."""
        return self.es if language[:2] == "es" else self.en
