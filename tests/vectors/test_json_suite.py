"""JSONTestSuite (nst): what must parse parses, what must not does not, and where it is our choice it stands here."""

from __future__ import annotations

from pathlib import Path

import pytest

from broker import strictjson
from broker.errors import Malformed
from tests.engines import need_testdata, testdata

NAMES = sorted(path.name for path in (testdata("vectors/json") or Path("/nowhere")).glob("*.json"))

OUR_CHOICE: dict[str, str | None] = {
    "i_number_double_huge_neg_exp.json": None,  # underflows to 0.0, as in every double
    "i_number_neg_int_huge_exp.json": "number-range",
    "i_number_real_pos_overflow.json": "number-range",
    "i_number_too_big_neg_int.json": "number-range",
    "i_number_very_big_negative_int.json": "number-range",
    "i_object_key_lone_2nd_surrogate.json": "json",
    "i_string_1st_valid_surrogate_2nd_invalid.json": "json",
    "i_string_UTF8_surrogate_U+D800.json": "json",
    "i_string_invalid_surrogate.json": "json",
    "i_string_lone_second_surrogate.json": "json",
    "i_string_not_in_unicode_range.json": "json",
    "i_string_overlong_sequence_2_bytes.json": "json",
    "i_structure_500_nested_arrays.json": "nesting",
}
"""RFC 8259 leaves these open; I-JSON (RFC 7493) does not, and so neither do we. None: it parses."""

DEVIATIONS: dict[str, str | None] = {
    "y_object_duplicated_key.json": "duplicate-member",  # legal for RFC 8259 §4; two readers could read two messages
}


@pytest.mark.parametrize("name", NAMES)
def test_the_strict_parser_against(name: str) -> None:
    """y_ parses, n_ does not, i_ as stated above."""
    octets = (need_testdata("vectors/json") / name).read_bytes()
    refused = OUR_CHOICE | DEVIATIONS if name[0] in "iy" else {}
    if name[0] == "n" or refused.get(name):
        with pytest.raises(Malformed) as error:
            strictjson.parse(octets, max_bytes=1_000_000)
        assert refused.get(name) in (None, error.value.rule)
    else:
        assert name[0] == "y" or name in OUR_CHOICE
        strictjson.parse(octets, max_bytes=1_000_000)


def test_every_case_is_there_and_every_choice_is_made() -> None:
    folder = need_testdata("vectors/json")
    names = {path.name for path in folder.glob("*.json")}

    assert len(names) == 154
    assert {name for name in names if name[0] == "i"} == OUR_CHOICE.keys()
    assert names >= DEVIATIONS.keys()


def test_a_large_and_deep_file_is_refused_without_harm() -> None:
    """The suite's two largest cases are not in this copy; these are they."""
    for octets in (b"[" * 100_000, b'[{"":' * 50_000):
        with pytest.raises(Malformed) as error:
            strictjson.parse(octets, max_bytes=1_000_000)
        assert error.value.rule == "nesting"
