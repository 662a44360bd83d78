"""File names that the folder agent makes: from addresses, and from other people's file names."""

from __future__ import annotations

import os
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.folder.names import MAX_STEM_BYTES, free, name_of, stem_of

ids = st.text("abAB01._-", min_size=1, max_size=64)
originators = st.sampled_from(["CL", "C", "CL-A", "HUB", "hub", "RILO-SA"])
addresses = st.builds("{}:{}".format, originators, ids)
ENDS = (".json", ".jws", ".delivery.json")


def test_a_plain_address_is_its_name() -> None:
    """Capital letters, digits, hyphens and underscores."""
    assert name_of("RILO-SA:2026-000_123") == "RILO-SA_2026-000_123"
    assert name_of("CL:x") == "CL_x~c0814740"


@pytest.mark.parametrize(
    "address",
    ["", ":", "CL:", "CL", ":a", "cl:a", "../CL:a", "CL:../a", "CL:a/b", "CL:a b", "CL:a\0", "CL:a\n", "CL:" + "a" * 65,
     "CL:é", "C/L:a", "operator:ana", "A" * 33 + ":a", "CL:a:b"],
)  # fmt: skip
def test_what_is_no_address_has_no_name(address: str) -> None:
    """No path is made of it."""
    assert name_of(address) is None


@given(addresses, addresses)
def test_two_addresses_never_share_a_file_even_where_case_is_nothing(one: str, other: str) -> None:
    """With any of the endings that the agent puts behind a name."""
    mine = {f"{name_of(one)}{end}".lower() for end in ENDS}
    theirs = {f"{name_of(other)}{end}".lower() for end in ENDS}

    assert len(mine) == len(ENDS)
    assert one == other or not mine & theirs


@given(addresses)
def test_a_name_stays_in_its_folder_and_in_sight(address: str) -> None:
    name = name_of(address)

    assert name is not None
    assert "/" not in name
    assert not name.startswith((".", "-", "~"))
    assert len(f"{name}.delivery.json") < 255


@pytest.mark.parametrize("id", ["x.delivery", "X.DELIVERY", "..", ".", ".hidden", "CON", "a.json"])
def test_an_id_that_looks_like_another_name_is_only_an_id(id: str) -> None:
    """Nobody writes over the files of `CL:X` with an id such as `X.delivery`."""
    names = {f"{name_of('CL:X')}{end}".lower() for end in ENDS}

    assert not names & {f"{name_of('CL:' + id)}{end}".lower() for end in ENDS}


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("report.json", "report"), ("a.b.json", "a.b"), ("Año 1.JSON", "Año 1"), ("tab\tand\nline.json", "tab_and_line"),
        ("\x1b[31mred.json", "_[31mred"), ("x.receipt.jws", "x_receipt"), ("x.Problem.json", "x_Problem"),
        ("x.sent.json", "x_sent"), ("‮gpj.json", "_gpj"), (os.fsdecode(b"latin-\xe9.json"), "latin-"),
        (os.fsdecode(b"\xe9.tw-1.json"), "_tw-1"), (os.fsdecode(b"\xe9..json"), "_"),
    ],
)  # fmt: skip
def test_a_teams_file_name_is_kept_as_far_as_it_is_harmless(name: str, stem: str) -> None:
    """Nothing that a terminal or a log would take for something else, and no ending of the agent's own."""
    assert stem_of(name) == stem


@given(st.binary(min_size=1, max_size=255))
def test_any_file_name_gives_a_name_that_fits_every_file_beside_it(octets: bytes) -> None:
    stem = stem_of(os.fsdecode(octets.replace(b"/", b"").replace(b"\0", b"")) + ".json")

    assert 0 < len(stem.encode()) <= MAX_STEM_BYTES
    assert stem.isprintable()
    assert not stem.startswith(".")


def test_a_name_that_is_given_away_gets_the_moment_behind_it() -> None:
    """And the next free millisecond."""
    now = datetime(2026, 11, 19, 22, 10, 0, 999_000, tzinfo=UTC)
    given_away = {"m", "m~20261119T221000999Z"}

    assert free("n", now, given_away.__contains__) == "n"
    assert free("m", now, given_away.__contains__) == "m~20261119T221001000Z"
