"""The names that a Bedrock model may have in a price table, from the one it is called by."""

import re
from collections.abc import Iterator

_RESOURCE = re.compile(r"arn:[^:]*:bedrock:[^:]*:[^:]*:(?:foundation-model|inference-profile)/(.+)")
_PLACE = re.compile(r"[a-z]{2,4}(?:-[a-z]+)?\.(?=[a-z0-9-]+\.[a-z])")
"""`ca.`, `us-gov.` before the maker: calls that stay in a part of the world. `global.` is no place, and has a price of its own."""


def table_names(model: str) -> Iterator[str]:
    """Yield the names to look for, the most exact first.

    ARNs of foundation models and of AWS's own inference profiles end with the name; those of one's own (application profiles,
    provisioned and custom models) tell no price. bedrock-mantle leaves the version out (`openai.gpt-oss-20b` for `…-1:0`).
    """
    name = model
    if model.startswith("arn:"):
        found = _RESOURCE.fullmatch(model)
        if found is None:
            return
        name = found[1]
    plain = name[place.end() :] if (place := _PLACE.match(name)) else name
    yield name
    if plain != name:
        yield plain
    yield f"{plain}-1:0"
