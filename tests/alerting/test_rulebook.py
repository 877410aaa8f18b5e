"""Rules that are made while the gateway runs."""

import asyncio
from typing import Any

import pytest

from alerting.policy import Policy
from alerting.rule_settings import RuleSettings
from alerting.rulebook import NoRuleError, ReadOnlyRuleError, RuleBook, RuleExistsError, rule_of
from storage.database import Sql, StoreError, Work
from storage.sqlite import SqliteDatabase


def a_rule(rule_id: str = "A", **more: Any) -> RuleSettings:
    return rule_of({"id": rule_id, "title": "A rule", "match": {"model": "gpt-4*"}, "action": "block", **more})


@pytest.fixture
def policies() -> list[Policy]:
    return []


@pytest.fixture
def rules(database: SqliteDatabase, clock: Any, policies: list[Policy]) -> Any:
    async def open_book(*file: RuleSettings) -> RuleBook:
        book = RuleBook(database, file=file, where="config.yaml", now=clock, on_change=policies.append)
        await book.load()
        return book

    return open_book


async def audit(database: SqliteDatabase) -> list[Any]:
    return await database.read("SELECT actor, action, subject FROM audit ORDER BY seq")


async def test_a_stored_rule_is_in_force_at_once_and_after_a_restart(rules: Any, policies: Any, a_call: Any) -> None:
    book = await rules(a_rule("FILE", action="allow", match={"user": "ann"}, priority=1))

    made = await book.add(a_rule(owner="sec", match={"model": {"not": ["gpt-4o-mini"]}}), actor="cli:me")

    assert (made.origin, made.created_by, made.in_force) == ("store", "cli:me", True)
    assert [policy.decide(a_call(), tokens=1).action.value for policy in policies] == ["block"]
    again = await rules(a_rule("FILE", action="allow", match={"user": "ann"}, priority=1))
    assert again.all() == book.all()
    assert again.get("A").settings.owner == "sec"
    assert again.policy().decide(a_call(caller={"user": "ann"}), tokens=1).action.value == "allow"
    assert again.policy().decide(a_call(model="gpt-4o-mini"), tokens=1).rule is None


async def test_a_rule_is_changed_switched_and_removed(rules: Any, policies: Any, a_call: Any, clock: Any, database: Any) -> None:
    book = await rules()
    made = await book.add(a_rule(), actor="a")
    clock.pass_by(minutes=1)

    await book.change(a_rule(action="alert"), actor="b")
    await book.enable("A", enabled=False, actor="c")
    kept = await book.enable("A", enabled=True, actor="d")
    await book.remove("A", actor="e")

    assert [policy.decide(a_call(), tokens=1).action.value for policy in policies] == ["block", "alert", "allow", "alert", "allow"]
    assert (kept.created_at, kept.created_by, kept.updated_by) == (made.created_at, "a", "d")
    assert book.all() == (await rules()).all() == []
    assert await audit(database) == [
        ("a", "rule.created", "A"),
        ("b", "rule.changed", "A"),
        ("c", "rule.disabled", "A"),
        ("d", "rule.enabled", "A"),
        ("e", "rule.deleted", "A"),
    ]


async def test_rules_of_the_file_are_read_only_and_say_where_they_live(rules: Any, policies: Any) -> None:
    book = await rules(a_rule("FILE"))

    for change in (
        book.add(a_rule("FILE"), actor="a"),
        book.change(a_rule("FILE"), actor="a"),
        book.enable("FILE", enabled=False, actor="a"),
        book.remove("FILE", actor="a"),
    ):
        with pytest.raises(ReadOnlyRuleError, match=r"'FILE' is defined in the config \(config.yaml\)"):
            await change
    assert policies == []


async def test_a_change_that_cannot_be_made_changes_nothing(rules: Any, policies: Any) -> None:
    book = await rules()
    await book.add(a_rule(), actor="a")

    with pytest.raises(RuleExistsError, match="There is a rule 'A' already"):
        await book.add(a_rule(action="allow"), actor="a")
    with pytest.raises(NoRuleError, match="'B' does not exist"):
        await book.change(a_rule("B"), actor="a")
    with pytest.raises(NoRuleError, match="'B' does not exist"):
        await book.remove("B", actor="a")

    assert [kept.settings for kept in (await rules()).all()] == [a_rule()]
    assert len(policies) == 1


async def test_what_the_store_refuses_is_not_in_force(rules: Any, policies: Any, database: SqliteDatabase) -> None:
    book = await rules()
    await database.close()

    with pytest.raises(StoreError):
        await book.add(a_rule(), actor="a")

    assert (book.all(), policies) == ([], [])


async def test_the_file_counts_where_it_has_a_rule_of_a_stored_ones_id(rules: Any, policies: Any, a_call: Any) -> None:
    book = await rules()
    await book.add(a_rule(), actor="a")
    file = (a_rule(action="alert"),)

    assert book.policy(file).decide(a_call(), tokens=1).action.value == "alert"
    book.follow(file)

    assert [(kept.origin, kept.in_force, kept.set_aside) for kept in book.all()] == [("file", True, False), ("store", False, True)]
    await book.remove("A", actor="a")
    assert [kept.origin for kept in book.all()] == ["file"]
    assert policies[-1].decide(a_call(), tokens=1).action.value == "alert"


async def test_a_stored_rule_that_cannot_be_read_stops_the_start_and_can_be_removed(rules: Any, database: SqliteDatabase) -> None:
    def work() -> Work[None]:
        yield Sql("INSERT INTO rules VALUES ('OLD', 1, '{\"id\": \"OLD\", \"colour\": 1}', 1, 'a', 1, 'a')")

    await database.write(work)
    book = await rules()

    with pytest.raises(ValueError, match=r"The stored rule 'OLD' cannot be read: .*Remove it by `tollwatch rules rm OLD`"):
        book.check()
    with pytest.raises(NoRuleError, match="'OLD' cannot be read"):
        await book.enable("OLD", enabled=True, actor="a")
    await book.remove("OLD", actor="a")
    book.check()
    assert (await rules()).broken == {}


async def test_changes_at_once_come_into_force_one_after_the_other(rules: Any, policies: Any) -> None:
    book = await rules()

    await asyncio.gather(*(book.add(a_rule(f"R{number}"), actor="a") for number in range(20)))

    assert [len(policy.settings) for policy in policies] == list(range(1, 21))
    assert [kept.settings.id for kept in (await rules()).all()] == [f"R{number}" for number in range(20)]


FAULTS = [
    ({"action": "deny"}, "action: Input should be 'allow', 'alert' or 'block'"),
    ({"match": {"colour": "x"}}, "match.colour: Extra inputs are not permitted"),
    ({"match": {"model": []}}, "match.model: the field names nothing"),
    ({"match": {"model": {"not": []}}}, "`not` names nothing"),
    ({"match": {"hours": "9-17"}}, "'9-17' is not a span of the day"),
    ({"match": {"hours": "24:00-25:00"}}, "not a span of the day"),
    ({"match": {"hours": "09:00-09:00"}}, "not a span of the day"),
    ({"match": {"weekdays": "monday-"}}, "'monday-' is not a day of the week"),
    ({"match": {"weekdays": "mo"}}, "'mo' is not a day of the week"),
    ({"match": {"hours": "09:00-17:00", "timezone": "Mars"}}, "'Mars' is not a time zone"),
    ({"match": {"timezone": "Europe/Berlin"}}, "a timezone without `hours` or `weekdays`"),
    ({"match": {"min_input_tokens": 5, "max_input_tokens": 4}}, "min_input_tokens 5 is above max_input_tokens 4"),
    ({"match": {"min_bytes": 5, "max_bytes": 4}}, "min_bytes 5 is above max_bytes 4"),
    ({"match": {"secrets": "nothing"}}, "'nothing' names no kind of secret"),
    ({"match": {"text": "(a"}}, "is not one of RE2"),
    ({"match": {"text": "a" * 1001}}, "1 to 1,000 characters"),
    ({"match": {"text": ["a"] * 101}}, "101 patterns are too many"),
    ({"id": "a/b"}, "'a/b' is no id of a rule"),
    ({"id": " a"}, "' a' is no id of a rule"),
    ({"id": "tollwatch:canary"}, "begins with 'tollwatch:'"),
]


@pytest.mark.parametrize(("change", "told"), FAULTS)
def test_a_rule_that_means_nothing_is_refused_with_the_reason(change: Any, told: str) -> None:
    with pytest.raises(ValueError, match="The rule cannot be taken: ") as caught:
        a_rule(**{"rule_id": "A", **change} if "id" not in change else {"rule_id": change["id"]})

    assert told in str(caught.value)
