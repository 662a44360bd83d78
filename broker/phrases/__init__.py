"""The sentences that people read, by code or rule and language; flat files with `{found} {allowed} ...` gaps.

Keys: `title.<code>` for a problem, `rule.<rule>` for a fault or warning. One key per line, sorted. English and Spanish are
whole; French and Portuguese have what is said of a message, and fall back to English, sentence by sentence. Rendering
never raises: an answer with a clumsy sentence is better than none. No rule is decided here.

A part in square brackets is left out if none of its gaps has a value: "Unknown.[ Did you mean {allowed}?]".
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from functools import cache
from importlib.resources import files

from broker.words.identifiers import IDENTIFIERS

FALLBACK = "en"
OPTIONAL = re.compile(r"\[([^\[\]]*)\]")
GAP = re.compile(r"{(\w+)}")


class _Gaps(dict[str, object]):
    def __missing__(self, _gap: str) -> str:
        return ""


@cache
def phrases() -> Mapping[str, Mapping[str, str]]:
    """Language -> key -> sentence, as in the files beside this one."""
    folder = files("broker.phrases")
    names = sorted(entry.name for entry in folder.iterdir() if entry.name.endswith(".json"))
    return {name.removesuffix(".json"): json.loads((folder / name).read_text("utf-8")) for name in names}


def languages() -> tuple[str, ...]:
    """Two-letter tags, the fallback first."""
    return (FALLBACK, *(language for language in phrases() if language != FALLBACK))


def says(language: str, keys: Iterable[str]) -> bool:
    """Whether every one of these sentences is there in `language`."""
    return all(key in phrases().get(language, {}) for key in keys)


def render(code_or_rule: str, language: str, /, **gaps: object) -> str:
    """The sentence for `rule.x`, `title.x`, or a bare `x` (a rule before a title) in `language` ("es", "es-CL").

    A gap without a value stays empty; a tuple is listed with commas; an unknown key is answered by itself.
    """
    sentence = _sentence(code_or_rule, language[:2].lower())
    filled = _Gaps({name: _text(value) for name, value in gaps.items()})
    form = IDENTIFIERS.get(str(filled["format"]))
    if "form" in filled and form is not None and language[:2].lower() == "es":  # the rule has it in English alone
        filled["form"] = form.checked.es
    kept = OPTIONAL.sub(lambda part: part[1] if any(map(filled.get, GAP.findall(part[1]))) else "", sentence)
    try:
        return " ".join(kept.format_map(filled).split())
    except (ValueError, LookupError, AttributeError, TypeError):
        return sentence


def _sentence(key: str, language: str) -> str:
    for sentences in (phrases().get(language, {}), phrases()[FALLBACK]):
        for name in (key, f"rule.{key}", f"title.{key}"):
            if name in sentences:
                return sentences[name]
    return key


def _text(value: object) -> str:
    if value is None:
        return ""
    if isinstance(value, tuple | list | set | frozenset):
        return ", ".join(str(item) for item in value)
    return str(value)
