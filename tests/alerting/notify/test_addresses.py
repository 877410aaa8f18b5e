"""Webhooks go to the public internet by https, and to the networks that the config opens; nowhere else, by whatever name."""

import ipaddress

import pytest

from alerting.notify.addresses import AddressGuard, ForbiddenAddressError, UrlError

GUARD = AddressGuard()
PUBLIC = ["93.184.216.34", "8.8.8.8", "2606:2800:220:1:248:1893:25c8:1946", "::ffff:8.8.8.8", "64:ff9b::808:808", "2002:808:808::1"]
FORBIDDEN = {
    "127.0.0.1": "this machine",
    "127.9.9.9": "this machine",
    "::1": "this machine",
    "0.0.0.0": "no address of a single machine",  # noqa: S104 - it must not be connected to
    "::": "no address of a single machine",
    "10.1.2.3": "private network",
    "172.16.0.1": "private network",
    "192.168.1.1": "private network",
    "fc00::1": "private network",
    "fd12:3456:789a::1": "private network",
    "169.254.169.254": "link-local",
    "fe80::1%eth0": "link-local",
    "100.64.0.1": "carrier-grade",
    "224.0.0.1": "no address of a single machine",
    "255.255.255.255": "no address of a single machine",
    "240.0.0.1": "no address of a single machine",
    "ff02::1": "no address of a single machine",
    "192.0.2.1": "private network",
    "198.18.0.1": "private network",
    "::ffff:127.0.0.1": "this machine",
    "::ffff:169.254.169.254": "link-local",
    "::127.0.0.1": "this machine",
    "64:ff9b::7f00:1": "this machine",
    "64:ff9b::a9fe:a9fe": "link-local",
    "2002:7f00:1::": "this machine",
    "2002:a01:203::1": "private network",
    "2001:db8::1": "private network",
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_reached_by_https_alone(address: str) -> None:
    GUARD.check(address, scheme="https")

    with pytest.raises(ForbiddenAddressError, match="by https alone"):
        GUARD.check(address, scheme="http")


@pytest.mark.parametrize(("address", "what"), FORBIDDEN.items())
def test_other_addresses_are_refused_with_what_they_are_and_the_way_to_open_them(address: str, what: str) -> None:
    with pytest.raises(ForbiddenAddressError, match=what) as refused:
        GUARD.check(address, scheme="https")

    assert "notify.allowed_networks" in str(refused.value)


@pytest.mark.parametrize("address", ["127.0.0.1", "::ffff:127.0.0.1", "::1"])
def test_a_network_that_is_opened_is_reached_by_http_too(address: str) -> None:
    guard = AddressGuard([ipaddress.ip_network("127.0.0.0/8"), ipaddress.ip_network("::1/128")])

    guard.check(address, scheme="http")
    with pytest.raises(ForbiddenAddressError):
        guard.check("10.0.0.1", scheme="https")


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("ftp://example.com/", "begins with https"),
        ("example.com/hook", "begins with https"),
        ("https://", "begins with https"),
        ("https://user:word@example.com/", "no user and password"),
        ("https://example.com/#part", "no fragment"),
        ("https://example.com:99999/", "no URL"),
        ("https://[::1", "no URL"),
        ("https://exam ple.com/", "no blanks"),
        ("https://example.com/\n", "no blanks"),
        ("https://example.com/" + "x" * 2000, "2,000 characters"),
    ],
)
def test_what_is_no_url_of_a_webhook_is_refused(url: str, said: str) -> None:
    with pytest.raises(UrlError, match=said):
        GUARD.check_url(url)


@pytest.mark.parametrize("url", ["https://127.0.0.1/", "https://[::ffff:10.0.0.1]:8443/x", "http://8.8.8.8/"])
def test_an_address_in_a_url_is_looked_at_at_once(url: str) -> None:
    with pytest.raises(ForbiddenAddressError):
        GUARD.check_url(url)


def test_a_name_is_looked_at_when_it_is_resolved() -> None:
    GUARD.check_url("https://hooks.example.com:8443/alerts?team=security")
