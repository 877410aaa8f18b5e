"""Whether a request still has the signature that it left its client with; botocore's own signer is the oracle."""

import re

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from tests.support.provider import Seen

_AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=(?P<key>[^/]+)/(?P<day>\d{8})/(?P<region>[^/]+)/(?P<service>[^/]+)/aws4_request, "
    r"SignedHeaders=(?P<headers>[^,]+), Signature=(?P<signature>[0-9a-f]{64})"
)


def signed_headers(seen: Seen) -> list[str]:
    """Return the names that the signature covers."""
    found = _AUTHORIZATION.fullmatch(seen.headers.get("authorization", ""))
    return found["headers"].split(";") if found else []


def fault(seen: Seen, *, secret: str) -> str | None:
    """Return what is wrong with the signature of a request as it arrived, or None when it is right."""
    found = _AUTHORIZATION.fullmatch(seen.headers.get("authorization", ""))
    if found is None:
        return f"no SigV4 signature: {seen.headers.get('authorization')!r}"
    names = signed_headers(seen)
    if missing := [name for name in ("host", "x-amz-date", *names) if name not in seen.headers or name not in names]:
        return f"not signed, or lost on the way: {missing}"
    request = AWSRequest(
        method=seen.method,
        url=f"https://{seen.headers['host']}{seen.target}",
        headers={name: seen.headers[name] for name in names},
        data=seen.body,
    )
    request.context["timestamp"] = seen.headers["x-amz-date"]
    signer = SigV4Auth(Credentials(found["key"], secret), found["service"], found["region"])
    canonical = signer.canonical_request(request)
    signature = signer.signature(signer.string_to_sign(request, canonical), request)
    return None if signature == found["signature"] else f"the signature covers another request than:\n{canonical}"
