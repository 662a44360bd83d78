"""One thing in the languages that it is said in."""

from __future__ import annotations

from typing import NamedTuple

LANGUAGES = ("en", "es")
"""Everything is said in these."""


class Said(NamedTuple):
    """The same thing in English and Spanish; in French and Portuguese where `check` says it."""

    en: str
    es: str
    fr: str = ""
    pt: str = ""

    def in_(self, language: str) -> str:
        """In `language` ("es", "es-CL"), or in English."""
        return {"es": self.es, "fr": self.fr, "pt": self.pt}.get(language[:2]) or self.en

    def has(self, language: str) -> bool:
        return bool({"en": self.en, "es": self.es, "fr": self.fr, "pt": self.pt}.get(language[:2]))
