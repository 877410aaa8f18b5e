"""Faults of the `notify` section are refused with the remedy."""

from typing import Any

import pytest

from alerting.notify.settings import NotifySettings
from alerting.notify.signing import new_secret


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"secret": "hunter2"}, "openssl rand"),
        ({"url": "https://127.0.0.1/"}, "notify.allowed_networks"),
        ({"url": "https://user@x.com/"}, "no user and password"),
        ({"events": ["alert.gone"]}, "use one or more of"),
        ({"events": []}, "no event is named"),
    ],
)
def test_a_faulty_webhook_of_the_config_is_refused_with_the_remedy(change: Any, said: str) -> None:
    good = {"name": "siem", "url": "https://siem.example.com/x", "secret": new_secret()}
    NotifySettings.model_validate({"webhooks": [good]})

    with pytest.raises(ValueError, match=said):
        NotifySettings.model_validate({"webhooks": [{**good, **change}]})


@pytest.mark.parametrize(("change", "said"), [({"timeout": "60s"}, "1s to 25s"), ({"allowed_networks": ["10.0.0.1/8"]}, "is no network")])
def test_faulty_settings_are_refused_with_the_remedy(change: Any, said: str) -> None:
    with pytest.raises(ValueError, match=said):
        NotifySettings.model_validate(change)


def test_two_webhooks_of_one_name_are_refused() -> None:
    one = {"name": "siem", "url": "https://siem.example.com/x", "secret": new_secret()}

    with pytest.raises(ValueError, match="stands twice"):
        NotifySettings.model_validate({"webhooks": [one, one]})
