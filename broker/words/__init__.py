"""Words that no schema and no code list has, in English and Spanish; data alone.

What a schema or a list calls something is read from there: see `broker.titles`. Sentences about faults are in
`broker/phrases/`.
"""

from broker.words.header import HEADER
from broker.words.pages import PAGE
from broker.words.said import LANGUAGES, Said
from broker.words.schemas import ABOUT, PARTS, VALUES

__all__ = ["ABOUT", "HEADER", "LANGUAGES", "PAGE", "PARTS", "VALUES", "Said"]
