"""The model is small enough to be wrong in: each test opens with the sentence of product.md that it holds it to."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests import model

NOW = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)


def a_member(type: str = "customs", state: str = "active") -> Any:
    return {"type": type, "state": state}


def a_group(*members: str, starts_at: datetime | None = None, ends_at: datetime | None = None) -> model.Group:
    return {"members": set(members), "starts_at": starts_at, "ends_at": ends_at}


def a_subscription(member: str, name: str, filter: model.Filter | None = None) -> model.Subscription:
    return {"member": member, "name": name, "filter": filter or {}, "delivery": "pull"}


def a_world(*subscriptions: model.Subscription, **groups: model.Group) -> model.World:
    return {
        "now": NOW,
        "members": {
            "CL": a_member(),
            "PE": a_member(),
            "AR": a_member(),
            "MX": a_member(state="suspended"),
            "RILO-SA": a_member("rilo"),
            "FIU-CL": a_member("partner"),
            "ECHO": a_member("hub"),
        },
        "groups": groups,
        "subscriptions": list(subscriptions),
    }


def a_header(tlp: str = "AMBER", status: str = "actual", **release: Any) -> dict[str, Any]:
    """A message from CL. `to` may be given as member ids."""
    to = [{"member": name} if isinstance(name, str) else name for name in release.pop("to", [])]
    return {
        "id": "1",
        "kind": "seizure",
        "originator": "CL",
        "status": status,
        "priority": "routine",
        "handling": {"tlp": tlp, "release": {"to": to, "groups": [], "all": False, "except": [], **release}},
    }


def a_withdrawal() -> dict[str, Any]:
    header = a_header()
    return header | {"withdraws": "CL:0", "handling": {"tlp": "AMBER", "release": None}}


def a_version(
    *handed: model.Place, fetched: Collection[str] = (), waiting: Collection[model.Place] = ()
) -> model.Version:
    return {"handed": set(handed), "fetched": set(fetched), "waiting": set(waiting)}


# ── the release ──


@pytest.mark.parametrize(
    ("tlp", "may"),
    [
        ("RED", {"to"}),
        ("AMBER+STRICT", {"to", "groups"}),
        ("AMBER", {"to", "groups"}),
        ("GREEN", {"to", "groups", "all"}),
        ("CLEAR", {"to", "groups", "all"}),
    ],
)
def test_release_wider_than_marking(tlp: str, may: set[str]) -> None:
    """RED allows `to`; AMBER+STRICT and AMBER allow `to` and `groups`; GREEN and CLEAR allow all."""
    world = a_world(andes=a_group("CL", "PE"))
    forms: dict[str, Any] = {"to": ["PE"], "groups": ["andes"], "all": True}
    granted = {form for form, value in forms.items() if not model.release_faults(a_header(tlp, **{form: value}), world)}

    assert granted == may


@pytest.mark.parametrize("form", [{"to": ["PE", "ZZ"]}, {"to": ["PE"], "except": ["ZZ"]}])
def test_unknown_member(form: dict[str, Any]) -> None:
    """An unknown member is refused."""
    assert model.release_faults(a_header(**form), a_world()) == {"unknown-member"}


def test_suspended_member_is_no_fault() -> None:
    """A suspended one is accepted, reaches nothing, and is a warning."""
    header = a_header(to=["MX"])

    assert model.release_faults(header, a_world()) == set()
    assert model.entitled(header, a_world()) == {}


@pytest.mark.parametrize(
    "group",
    [
        None,
        a_group("PE", "AR"),
        a_group("CL", "PE", starts_at=NOW + HOUR),
        a_group("CL", "PE", ends_at=NOW - HOUR),
        a_group("CL", "PE", ends_at=NOW),
    ],
    ids=["unknown", "not in it", "not begun", "over", "over just now"],
)
def test_group_refused(group: model.Group | None) -> None:
    """An unknown group and a group that the originator is not in get the same answer."""
    world = a_world(**({"andes": group} if group else {}))

    assert model.release_faults(a_header(groups=["andes"]), world) == {"group-refused"}


def test_operation_that_runs() -> None:
    """An operation is a group with a start and an end."""
    world = a_world(andes=a_group("CL", "PE", starts_at=NOW, ends_at=NOW + HOUR))

    assert model.release_faults(a_header(groups=["andes"]), world) == set()
    assert model.entitled(a_header(groups=["andes"]), world) == {"PE": "group:andes"}


@pytest.mark.parametrize(("status", "faults"), [("actual", {"echo-in-actual"}), ("exercise", set()), ("test", set())])
def test_echo_in_actual(status: str, faults: set[str]) -> None:
    """ECHO may be named only in messages of status exercise or test (422 otherwise)."""
    assert model.release_faults(a_header(status=status, to=["ECHO"]), a_world()) == faults


def test_every_fault_is_told() -> None:
    """Bad input gets one clear answer: every fault of the first step that fails."""
    header = a_header("RED", to=["ZZ", "ECHO"], groups=["nowhere"])

    assert model.release_faults(header, a_world()) == {
        "release-wider-than-marking",
        "unknown-member",
        "group-refused",
        "echo-in-actual",
    }


# ── who is entitled ──


def test_default_deny() -> None:
    """A release to which no member is entitled is accepted with the warning `nobody`."""
    assert model.release_faults(a_header(), a_world()) == set()
    assert model.entitled(a_header(), a_world()) == {}


@pytest.mark.parametrize(
    ("tlp", "members"), [("GREEN", {"PE", "AR", "RILO-SA"}), ("CLEAR", {"PE", "AR", "RILO-SA", "FIU-CL"})]
)
def test_all(tlp: str, members: set[str]) -> None:
    """`all` = active customs and RILOs (GREEN), and partners (CLEAR)."""
    assert model.entitled(a_header(tlp, all=True), a_world()) == dict.fromkeys(members, "all")


def test_except_wins() -> None:
    """`except` wins over all."""
    world = a_world(andes=a_group("CL", "PE", "AR", "RILO-SA"))
    release: dict[str, Any] = {"to": ["PE"], "groups": ["andes"], "all": True, "except": ["PE", "AR"]}
    header = a_header("GREEN", **release)

    assert model.entitled(header, world) == {"RILO-SA": "group:andes"}


def test_first_rule_that_admits() -> None:
    """`rule` is the first of `to`, `group:NAME`, `all`, `holder`, `notice` that admits."""
    world = a_world(andes=a_group("CL", "PE"), plata=a_group("CL", "PE", "AR"))
    header = a_header("GREEN", to=["RILO-SA"], groups=["plata", "andes"], all=True)

    assert model.entitled(header, world) == {"RILO-SA": "to", "PE": "group:plata", "AR": "group:plata"}


def test_originator_names_itself() -> None:
    """The originator receives its own message only if it names itself."""
    world = a_world(andes=a_group("CL", "PE"))

    assert "CL" not in model.entitled(a_header("GREEN", groups=["andes"], all=True), world)
    assert model.entitled(a_header("RED", to=["CL"]), world) == {"CL": "to"}


@pytest.mark.parametrize(
    ("to", "carried"),
    [
        ([], ("information",)),
        (["PE"], ("information",)),
        ([{"member": "PE", "duties": ["information", "action"]}], ("action", "information")),
        ([{"member": "PE", "duties": ["attention"]}, {"member": "PE", "duties": ["action"]}], ("action", "attention")),
        ([{"member": "PE", "duties": ["action"]}, "PE"], ("action", "information")),
        ([{"member": "AR", "duties": ["action"]}, "PE"], ("information",)),
    ],
)
def test_duties(to: list[Any], carried: tuple[str, ...]) -> None:
    """A member named with several gets one delivery that carries all of them."""
    assert model.duties(a_header(to=to), "PE") == carried


# ── the filter ──

ATTRIBUTES = {"heading": {"tobacco"}, "hs": {"240220", "490700"}, "country": {"CL", "PE"}, "mode": set[str]()}


def fulfilled(
    *clauses: dict[str, Any], header: model.Header | None = None, attributes: model.Attributes = ATTRIBUTES
) -> int | None:
    header = header or a_header(to=[{"member": "PE", "duties": ["action"]}])
    return model.matches({"any": list(clauses)}, attributes, header, "PE", model.duties(header, "PE"))


@pytest.mark.parametrize(
    "clause",
    [
        {"heading": ["drugs", "tobacco"]},
        {"kind": ["seizure"], "heading": ["tobacco"], "country": ["PE"]},
        {"hs": ["2402"]},
        {"hs": ["9", "490700"]},
        {"all": {"country": ["CL", "PE"]}},
        {"all": {"hs": ["24", "4907"]}},
        {"not": {"mode": ["air"]}},
        {"not": {"mode": [], "heading": []}},
        {"mode": [], "priority": ["routine"]},
        {"tlp": ["AMBER"], "originator": ["CL"], "duty": ["action"]},
        {"mentions_me": True},
        {"mentions_me": False},
        {},
    ],
    ids=str,
)
def test_clause_that_holds(clause: dict[str, Any]) -> None:
    """Within a list OR, across attributes AND; `all` wants every value; `hs` is a prefix."""
    assert fulfilled(clause) == 0


@pytest.mark.parametrize(
    "clause",
    [
        {"heading": ["drugs"]},
        {"kind": ["seizure"], "heading": ["drugs"]},
        {"hs": ["2403"]},
        {"hs": ["24022000"]},
        {"mode": ["air"]},
        {"all": {"mode": ["air"]}},
        {"all": {"country": ["CL", "PE", "AR"]}},
        {"all": {"hs": ["24", "93"]}},
        {"all": {"kind": ["seizure", "alert"]}},
        {"not": {"mode": ["air"], "country": ["PE"]}},
        {"not": {"hs": ["49"]}},
        {"not": {"mentions_me": True}},
        {"tlp": ["AMBER+STRICT"]},
        {"duty": ["information"]},
        {"group": ["andes"]},
        {"originator": ["PE"]},
    ],
    ids=str,
)
def test_clause_that_does_not_hold(clause: dict[str, Any]) -> None:
    """A condition on an attribute that the message lacks is false; `not` excludes what fulfils any one of its."""
    assert fulfilled(clause) is None


def test_clause_that_is_told() -> None:
    """The subscriber also sees `match` (subscription and clause)."""
    assert fulfilled({"heading": ["drugs"]}, {"hs": ["24"]}, {"heading": ["tobacco"]}) == 1


@pytest.mark.parametrize(("filter", "clause"), [({}, 0), ({"status": ["actual"]}, 0), ({"status": ["test"]}, None)])
def test_filter_without_clauses(filter: model.Filter, clause: int | None) -> None:
    """`any` absent = everything."""
    assert model.matches(filter, ATTRIBUTES, a_header(), "PE", ("information",)) == clause


@pytest.mark.parametrize(
    ("asked", "seen"),
    [(None, {"actual"}), ([], {"actual"}), (["exercise", "test"], {"exercise", "test"}), (["test"], {"test"})],
)
def test_default_status(asked: list[str] | None, seen: set[str]) -> None:
    """The default status is actual alone, so that an exercise never surprises anyone."""
    filter: model.Filter = {} if asked is None else {"status": asked}
    every = ("actual", "exercise", "test")
    matched = {s for s in every if model.matches(filter, ATTRIBUTES, a_header(status=s), "PE", ()) is not None}

    assert matched == seen


def test_admitted_by_group_or_all() -> None:
    """Who is admitted by group or `all` alone has the duty information."""
    header = a_header("GREEN", all=True)

    assert fulfilled({"duty": ["information"]}, header=header) == 0
    assert fulfilled({"mentions_me": True}, header=header) is None


def test_unknown_attribute() -> None:
    """`any: []` or an unknown attribute is 422: such a filter is never asked here."""
    with pytest.raises(LookupError, match="colour"):
        fulfilled({"colour": ["red"]})


# ── deliveries ──

EVERYTHING: model.Filter = {}
NOTHING: model.Filter = {"any": [{"heading": ["nuclear"]}]}


def test_one_delivery_per_matching_subscription() -> None:
    """One delivery per matching subscription, each with the rule that admitted it."""
    world = a_world(
        a_subscription("PE", "tobacco", {"any": [{"heading": ["tobacco"]}]}),
        a_subscription("PE", "everything"),
        a_subscription("PE", "nuclear", NOTHING),
        a_subscription("AR", "everything"),
    )

    assert model.deliveries(a_header(to=["PE"]), ATTRIBUTES, world) == {
        ("PE", "tobacco", "to", ("information",)),
        ("PE", "everything", "to", ("information",)),
    }


@pytest.mark.parametrize("status", ["actual", "exercise"])
def test_inbox(status: str) -> None:
    """The inbox is for what names the member in `release.to`, for every status, where no other subscription matched."""
    world = a_world(a_subscription("PE", "nuclear", NOTHING))
    header = a_header(status=status, to=[{"member": "PE", "duties": ["action"]}])

    assert model.deliveries(header, ATTRIBUTES, world) == {("PE", "inbox", "to", ("action",))}


def test_inbox_is_not_filled_by_groups() -> None:
    """A release by group or `all` alone never fills it."""
    world = a_world(a_subscription("PE", "nuclear", NOTHING), andes=a_group("CL", "PE"))

    assert model.deliveries(a_header("GREEN", groups=["andes"], all=True), ATTRIBUTES, world) == set()


def test_echo_has_an_inbox() -> None:
    """The test member ECHO is of type hub, owns a pull queue and may be named in an exercise."""
    header = a_header("CLEAR", status="exercise", to=["ECHO"], all=True)

    assert ("ECHO", "inbox", "to", ("information",)) in model.deliveries(header, ATTRIBUTES, a_world())


def test_attributes() -> None:
    """Attributes come from annotations in the schemas."""
    body = {
        "heading": "tobacco",
        "place": {"country": "CL", "locode": "CLVAP"},
        "goods": [{"hs": "240220"}, {"hs": "9503", "heading": "counterfeits"}, {"description": "?"}],
        "route": [{"country": "CN"}, {"country": "PA", "locode": "PABLB"}],
        "transport": {"mode": "sea"},
    }

    assert model.attributes_of(body) == {
        "heading": {"tobacco", "counterfeits"},
        "hs": {"240220", "9503"},
        "country": {"CL", "CN", "PA"},
        "mode": {"sea"},
    }
    assert not any(model.attributes_of({"reason_code": "mistaken", "text": "-"}).values())


# ── corrections ──


def test_amendment_to_holders() -> None:
    """An amendment goes to every entitled holder on the very subscriptions that carried the earlier version."""
    world = a_world(a_subscription("PE", "nuclear", NOTHING), a_subscription("AR", "nuclear", NOTHING))
    chain = [a_version(("PE", "nuclear"))]
    header = a_header("GREEN", to=["PE"], all=True)

    assert model.correction_deliveries(header, ATTRIBUTES, world, chain) == (
        {("PE", "nuclear", "to", ("information",))},
        set(),
    )


def test_amendment_to_whoever_it_admits() -> None:
    """An amendment goes to whoever its own release and the filters admit, once for each queue."""
    world = a_world(a_subscription("PE", "everything"), a_subscription("AR", "everything"))
    chain = [a_version(("PE", "everything")), a_version(("PE", "everything"))]
    found, notices = model.correction_deliveries(a_header("GREEN", all=True), ATTRIBUTES, world, chain)

    assert found == {("PE", "everything", "all", ("information",)), ("AR", "everything", "all", ("information",))}
    assert notices == set()


def test_notice_to_holders_who_are_barred() -> None:
    """A holder who is not entitled gets the notice there."""
    world = a_world(
        a_subscription("PE", "everything"), a_subscription("PE", "more"), a_subscription("AR", "everything")
    )
    chain = [a_version(("PE", "everything"), fetched={"FIU-CL"})]

    assert model.correction_deliveries(a_header(to=["AR"]), ATTRIBUTES, world, chain) == (
        {("AR", "everything", "to", ("information",))},
        {("PE", "everything"), ("FIU-CL", "inbox")},
    )


def test_holder_who_only_fetched() -> None:
    """`inbox` for who only fetched, where no other subscription of its own matched."""
    world = a_world(a_subscription("AR", "everything"))
    chain = [a_version(fetched={"PE", "AR"})]
    found, _ = model.correction_deliveries(a_header("GREEN", all=True), ATTRIBUTES, world, chain)

    assert found == {("PE", "inbox", "all", ("information",)), ("AR", "everything", "all", ("information",))}


def test_subscription_that_is_gone() -> None:
    """Where the carrying subscription was removed since, the correction comes to the inbox."""
    chain = [a_version(("PE", "gone"))]

    assert model.correction_deliveries(a_header("GREEN", all=True), ATTRIBUTES, a_world(), chain) == (
        {("PE", "inbox", "all", ("information",))},
        set(),
    )
    assert model.correction_deliveries(a_header(), ATTRIBUTES, a_world(), chain) == (set(), {("PE", "inbox")})
    assert model.correction_deliveries(a_withdrawal(), {}, a_world(), chain) == (
        {("PE", "inbox", "holder", ("information",))},
        set(),
    )


def test_earlier_version_that_waits() -> None:
    """Barred and never handed one: a tombstone and no notice; otherwise both versions are delivered."""
    world = a_world(a_subscription("PE", "nuclear", NOTHING), a_subscription("AR", "nuclear", NOTHING))
    chain = [a_version(waiting={("PE", "nuclear"), ("AR", "nuclear")})]

    assert model.correction_deliveries(a_header("RED", to=["PE"]), ATTRIBUTES, world, chain) == (
        {("PE", "nuclear", "to", ("information",))},
        set(),
    )


def test_withdrawal_to_the_holders_alone() -> None:
    """A withdrawal has `release: null` and goes to the holders alone, in the same way."""
    world = a_world(a_subscription("PE", "everything"), a_subscription("AR", "everything"))
    chain = [a_version(("PE", "everything"), waiting={("AR", "everything")}), a_version(fetched={"PE", "RILO-SA"})]

    assert model.release_faults(a_withdrawal(), world) == set()
    assert model.correction_deliveries(a_withdrawal(), {}, world, chain) == (
        {("PE", "everything", "holder", ("information",)), ("RILO-SA", "inbox", "holder", ("information",))},
        set(),
    )


def test_suspended_holder() -> None:
    """A suspended member is entitled to nothing accepted meanwhile: as a holder it finds the notice of an amendment,
    and a withdrawal itself, which goes to every holder."""
    world = a_world(a_subscription("MX", "everything"))
    chain = [a_version(("MX", "everything"))]

    assert model.correction_deliveries(a_header(to=["MX"]), ATTRIBUTES, world, chain) == (set(), {("MX", "everything")})
    assert model.correction_deliveries(a_withdrawal(), {}, world, chain) == (
        {("MX", "everything", "holder", ("information",))},
        set(),
    )


def test_originator_is_no_holder_by_looking() -> None:
    """The originator receives its own message only if it names itself, corrections as well."""
    assert model.correction_deliveries(a_withdrawal(), {}, a_world(), [a_version(fetched={"CL"})]) == (set(), set())
