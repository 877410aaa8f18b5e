"""How long a provider asks to wait, in each way in which they say it."""

from datetime import UTC, datetime

import pytest

from metering.retry_after import LONGEST, retry_after

AT = datetime(2026, 11, 2, 12, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"retry-after": "20"}, 20),
        ({"retry-after": " 0.25 "}, 0.25),
        ({"retry-after": "20", "retry-after-ms": "1500"}, 1.5),
        ({"retry-after": "20", "retry-after-ms": "soon"}, 20),
        ({"retry-after": "-3"}, 0),
        ({"retry-after": "Mon, 02 Nov 2026 12:01:30 GMT"}, 90),
        ({"retry-after": "Mon, 02 Nov 2026 12:01:30 -0000"}, 90),
        ({"retry-after": "Mon, 02 Nov 2026 11:00:00 GMT"}, 0),
        ({"retry-after": "soon"}, None),
        ({"retry-after": ""}, None),
        ({"retry-after": "nan"}, None),
        ({"retry-after": "inf"}, None),
        ({"retry-after": "1e300"}, LONGEST.total_seconds()),
    ],
)
def test_the_wait_that_headers_ask_for(headers: dict[str, str], seconds: float | None) -> None:
    wait = retry_after(headers, at=AT)

    assert (wait if wait is None else wait.total_seconds()) == seconds
