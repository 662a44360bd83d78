"""Words that no schema and no code list has, in English and Spanish; data alone.

What a schema or a list calls something is read from there: see `broker.titles`. Sentences about faults are in
`broker/phrases/`.
"""

from broker.words.header import HEADER
from broker.words.pages import PAGE, STATES
from broker.words.said import LANGUAGES, Said

__all__ = ["HEADER", "LANGUAGES", "PAGE", "STATES", "Said"]
