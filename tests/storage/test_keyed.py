import hmac

import pytest

from storage.keyed import KeyedHash


@pytest.mark.parametrize("length", [0, 1, 32, 63, 64, 65, 200])
def test_a_keyed_hash_is_the_hmac_of_the_standard(length: int) -> None:
    key, message = bytes(range(256))[:length] or b"", b"key\0sk-anything"

    assert KeyedHash(key).hex(message) == hmac.new(key, message, "sha256").hexdigest()
