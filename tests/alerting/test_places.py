"""The names of places in the traffic."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerting.places import place, place_name

NAMES = st.text(min_size=1, max_size=12) | st.sampled_from(["a/b", "%2F", "a", "b", "a-b", "A b", "-"])


@pytest.mark.parametrize(
    ("known", "name", "title", "api_name"),
    [
        (("openai", "support-bot", "ann", "chat"), "openai/support-bot/chat", "support-bot: chat of openai", "openai_support-bot_chat"),
        (("openai", None, "ann@x.io", "chat"), "openai/ann@x.io/chat", "ann@x.io: chat of openai", "openai_ann-x-io_chat"),
        (("openai", None, None, "embeddings"), "openai/-/embeddings", "embeddings of openai", "openai__embeddings"),
        ((None, None, None, None), "-/-/other", "anywhere", "__other"),
        (("a/b", None, "50%", "odd"), "a%2Fb/50%25/other", "50%: other endpoints of a/b", "a-2fb_50-25_other"),
    ],
)
def test_a_place_is_service_caller_and_class_of_endpoint(known: tuple[str | None, ...], name: str, title: str, api_name: str) -> None:
    service, agent, user, endpoint = known

    found = place(place_name(service=service, agent=agent, user=user, endpoint=endpoint))

    assert (found.name, found.title) == (name, title)
    assert re.sub("-[0-9a-f]{8}$", "", found.api_name) == api_name


def test_a_glob_over_places_is_called_by_itself() -> None:
    assert (place("support-*").title, place("*/ann/*").title) == ("support-*", "ann: * of *")


def test_a_name_that_a_client_made_long_is_cut() -> None:
    found = place_name(service="s", agent="a/" * 500, user=None, endpoint="chat")

    assert found == f"s/{'a%2F' * 100}…/chat"


@given(first=st.tuples(NAMES, NAMES), second=st.tuples(NAMES, NAMES))
def test_two_places_share_neither_name_nor_slug(first: tuple[str, str], second: tuple[str, str]) -> None:
    one, two = (place(place_name(service=s, agent=None if u == "-" else u, user=None, endpoint="chat")) for s, u in (first, second))

    assert (one.name == two.name) == (first == second)
    assert (one.api_name == two.api_name) == (first == second)
    assert re.fullmatch(r"[a-z0-9_-]*", one.api_name)
