"""Events of our own that go down the layers of a client's connection to the stream of one call."""

# pyright: reportUnknownMemberType=false, reportUnknownVariableType=false, reportUnknownArgumentType=false, reportPrivateUsage=false
# mitmproxy is typed in part only, and offers no public way in

from collections.abc import Callable
from dataclasses import dataclass

from mitmproxy.proxy import events, layer
from mitmproxy.proxy.layers.http import HttpLayer, HttpStream

from proxy import flows
from proxy.flows import LiveCall, Passage


@dataclass
class ToStream(events.Event):
    """Something that is to be done with the stream of one call."""

    live: LiveCall

    def apply(self, http: HttpLayer, stream: HttpStream, passage: Passage, /) -> layer.CommandGenerator[None]:
        """Do it; not called where the stream is gone."""
        raise NotImplementedError


type Post = Callable[[LiveCall, ToStream], None]
"""Hands an event to the layers of the call's client, in a turn of the loop of its own."""


def install() -> None:
    """Let the HTTP layers of this process know the events."""
    original = HttpLayer._handle_event  # noqa: SLF001  # mitmproxy offers no other place

    def handle_event(self: HttpLayer, event: events.Event) -> layer.CommandGenerator[None]:
        return _find(self, event) if isinstance(event, ToStream) else original(self, event)

    HttpLayer._handle_event = handle_event  # type: ignore[method-assign]  # noqa: SLF001  # replaced on purpose


def _find(http: HttpLayer, event: ToStream) -> layer.CommandGenerator[None]:
    for stream in list(http.streams.values()):
        flow = getattr(stream, "flow", None)
        if flow is None or flow.websocket is not None:  # nothing is known of it yet; or `proxy.websockets` ends it
            continue
        if stream.child_layer is not None:  # a tunnel: the call is in the layers within
            yield from http.event_to_child(stream, event)
        else:
            passage = flows.passage_of(flow)
            if passage is not None and passage.live is event.live:
                yield from event.apply(http, stream, passage)
