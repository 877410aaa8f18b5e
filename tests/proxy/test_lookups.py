from collections.abc import Mapping, Sequence

from hypothesis import given
from hypothesis import strategies as st
from mitmproxy import optmanager
from mitmproxy.http import Headers

from proxy import lookups

# The functions are compared before they are installed; they have no public name.
# ruff: noqa: SLF001

NAMES = st.sampled_from([b"Content-Type", b"content-type", b"CONTENT-LENGTH", b"te", b"\xff\xfe", b"x-A"])
FIELDS = st.lists(st.tuples(NAMES, st.binary(max_size=8)), max_size=6)


@given(FIELDS, st.one_of(NAMES, st.sampled_from(["Content-Type", "te", "X-a", "none"])))
def test_a_header_is_found_as_mitmproxy_finds_it(fields: list[tuple[bytes, bytes]], name: str | bytes) -> None:
    headers = Headers(fields)

    assert lookups._get(headers, name, "default") == Mapping.get(headers, name, "default")
    assert lookups._contains(headers, name) == bool(headers.get_all(name))


def test_what_is_no_name_is_in_no_headers() -> None:
    assert not lookups._contains(Headers([(b"a", b"b")]), 1)


def test_an_option_that_can_be_changed_in_place_is_still_a_copy() -> None:
    lookups.install()
    options = optmanager.OptManager()
    options.add_option("many", Sequence[str], ["a"], "")
    options.add_option("one", int, 7, "")

    options.many.append("b")

    assert options.many == ["a"]
    assert options.one == 7
    options.update(one=8)
    assert options.one == 8
