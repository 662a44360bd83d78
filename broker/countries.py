"""What countries are called: the short names of ISO 3166-1 and their translations, as pycountry keeps them.

It comes with the `hub` extra; without it a code is read as it stands. Whether a code exists is decided elsewhere
(`broker.language.existence`).
"""

from __future__ import annotations

import gettext
from functools import cache


@cache
def name(code: str, language: str) -> str | None:
    """Of an alpha-2 code, in `language` ("es"), in English where there is no translation; None for a stranger."""
    try:
        import pycountry
    except ImportError:
        return None
    found = pycountry.countries.get(alpha_2=code)
    if found is None:
        return None
    translated = gettext.translation("iso3166-1", pycountry.LOCALES_DIR, languages=[language], fallback=True)
    return str(translated.gettext(found.name))
