"""What tells a real secret from a text of its shape: checksums, structure, entropy; each check takes the text that the pattern found."""

import base64
import json
import math
import re
import zlib
from collections import Counter
from typing import cast

_BASE62 = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
_PLACEHOLDERS = re.compile(
    r"example|sample|placeholder|changeme|change_me|redacted|dummy|your[-_]|my[-_]|insert|replace|xxxx|\*\*\*|\.\.\.|0000000|1234567|abcdefg|<|\$\{",
    re.IGNORECASE,
)
_CARDS = (
    (re.compile(r"4"), (13, 16, 19)),
    (re.compile(r"5[1-5]|222[1-9]|22[3-9]|2[3-6]|27[01]|2720"), (16,)),
    (re.compile(r"3[47]"), (15,)),
    (re.compile(r"3(?:0[0-5]|[68])"), (14,)),
    (re.compile(r"6011|64[4-9]|65"), (16, 19)),
    (re.compile(r"352[89]|35[3-8]"), (16,)),
    (re.compile(r"62"), (16, 17, 18, 19)),
)
"""Prefixes of the networks that issue cards, and the lengths of their numbers."""
_IBAN_LENGTHS = {
    country: length
    for length, countries in (
        (15, "NO"),
        (16, "BE"),
        (18, "DK FI FO GL NL"),
        (19, "MK SI"),
        (20, "AT BA EE KZ LT LU XK"),
        (21, "CH HR LI LV"),
        (22, "BG BH CR DE GB GE IE ME RS VA"),
        (23, "AE GI IL IQ TL"),
        (24, "AD CZ ES MD PK RO SA SE SK TN VG"),
        (25, "PT ST"),
        (26, "IS TR"),
        (27, "FR GR IT MC MR SM"),
        (28, "AL AZ BY CY DO GT HU LB PL SV"),
        (29, "BR EG PS QA UA"),
        (30, "JO KW MU"),
        (31, "MT"),
        (32, "LC"),
    )
    for country in countries.split()
}
_LEAST_ENTROPY_OF_KEYS = 2.5
_LEAST_ENTROPY = 3.5
"""Bits a sign, of a value that nobody made up by hand (random hex has 4 at most, random base64 6)."""


def is_no_placeholder(found: str) -> bool:
    """Return whether the text is not one that documents show in a secret's place."""
    return _PLACEHOLDERS.search(found) is None


def has_crc32(found: str) -> bool:
    """Check GitHub's and npm's tokens: the last six signs are the CRC-32 of those between the prefix and them, in base 62."""
    body = found.rpartition("_")[2]
    value, digits = zlib.crc32(body[:-6].encode("ascii")), ""
    while value:
        value, rest = divmod(value, 62)
        digits = _BASE62[rest] + digits
    return body[-6:] == digits.rjust(6, "0")


def is_card(found: str) -> bool:
    """Check a payment card's number: prefix, length, and the Luhn digit; numbers that are one digit over and over are none."""
    digits = found.replace(" ", "").replace("-", "")
    if not any(len(digits) in lengths and prefix.match(digits) for prefix, lengths in _CARDS):
        return False
    odd = sum(map(int, digits[-1::-2]))
    even = sum(sum(divmod(2 * int(digit), 10)) for digit in digits[-2::-2])
    return (odd + even) % 10 == 0 and len(set(digits)) > 1


def is_iban(found: str) -> bool:
    """Check an IBAN: its country's length, and the remainder 1 of ISO 7064 (modulo 97)."""
    iban = found.replace(" ", "")
    if _IBAN_LENGTHS.get(iban[:2]) != len(iban):
        return False
    return int("".join(str(int(sign, 36)) for sign in iban[4:] + iban[:4])) % 97 == 1


def is_jwt(found: str) -> bool:
    """Check a JSON Web Token: its first part is a JSON object that names an algorithm."""
    head = found.partition(".")[0]
    try:
        decoded = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))
    except (ValueError, RecursionError):
        return False
    return isinstance(decoded, dict) and isinstance(cast("dict[str, object]", decoded).get("alg"), str)


def is_drawn(found: str) -> bool:
    """Return whether a key that its prefix tells is none that documents show: no placeholder, no sign over and over."""
    return is_no_placeholder(found) and entropy(found) >= _LEAST_ENTROPY_OF_KEYS


def is_random(found: str) -> bool:
    """Return whether a value looks drawn by lot: letters and digits mixed, high entropy, and no word, path or placeholder."""
    if not (re.search(r"[0-9]", found) and re.search(r"[A-Za-z]", found)) or not is_no_placeholder(found):
        return False
    if re.fullmatch(r"[a-z]+(?:[-_./][a-z0-9]+)+|[A-Za-z]+(?:[-_./][A-Za-z]+)*[-_./]?\d{0,4}", found):
        return False
    return entropy(found) >= _LEAST_ENTROPY


def entropy(found: str) -> float:
    """Return the entropy of a text's signs, in bits a sign."""
    return -sum(number / len(found) * math.log2(number / len(found)) for number in Counter(found).values())
