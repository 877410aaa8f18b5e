"""How a call ended whose answer came to its end, or that one side broke off, and what its client can still be told."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false
# mitmproxy is typed in part only

import re

from mitmproxy import http

from metering.call import Ending
from proxy import cutting, plain_errors, refusal
from proxy.flows import LiveCall, Passage
from proxy.refusal import Answer, Problem

_REMEDIES = (
    (re.compile(r"ertificate"), "its certificate is not trusted: add the authority that issued it under proxy.upstream_ca"),
    (re.compile(r"refused|onnect call failed"), "nothing listens there: check the address under proxy.upstreams or proxy.resolve"),
    (re.compile(r"name or service|resolve|getaddrinfo|nodename", re.IGNORECASE), "check the name, the network and its DNS"),
    (re.compile(r"timed? ?out", re.IGNORECASE), "check the network, or set proxy.upstream_proxy if it has a proxy"),
)
_ANOTHER = "try again; if it goes on, look at the provider's status page and at the gateway's log"


def ending_of(flow: http.HTTPFlow, *, sent: bool, stopping: bool) -> Ending:
    """Return how a call ended that was broken off."""
    by_client = flow.metadata.get(plain_errors.BY_CLIENT)
    if by_client is None:
        by_client = flow.response is None
    if by_client or stopping:
        return Ending.CLIENT_ABORT
    return Ending.UPSTREAM_RESET if sent else Ending.UPSTREAM_UNREACHABLE


def unreachable(passage: Passage, flow: http.HTTPFlow) -> Answer:
    """Return the 502 of a call whose provider did not answer, in the provider's own shape."""
    reason = (flow.error.msg if flow.error else "no reason given")[:300]
    remedy = next((said for pattern, said in _REMEDIES if pattern.search(reason)), _ANOTHER)
    problem = Problem(
        status=502,
        code="tollwatch_upstream",
        message=f"{flow.request.host} could not be reached, or broke off before it answered ({reason}): {remedy}",
        call_id=passage.live.call.id if passage.live else None,
        may_retry=True,
    )
    return refusal.answer(passage.dialect, problem)


def end_of_answer(flow: http.HTTPFlow, live: LiveCall) -> Ending:
    """Say how a call ended whose client got a whole answer: one that was to be cut may have come to its own end before that."""
    shut = live.tap is not None and live.tap.valve is not None and live.tap.valve.shut
    return Ending.CUT if shut else flow.metadata.get(cutting.ENDED, Ending.COMPLETED)
