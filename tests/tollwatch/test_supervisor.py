"""One service that fails does not end its siblings."""

import asyncio

from tollwatch.supervisor import Supervisor


async def test_a_service_that_fails_is_begun_again_and_its_sibling_goes_on() -> None:
    tries: list[int] = []
    beats = asyncio.Queue[None]()
    again = asyncio.Event()

    async def failing() -> None:
        tries.append(len(tries))
        if len(tries) == 2:
            again.set()
        raise RuntimeError("broken")

    async with asyncio.timeout(60), Supervisor(first_pause=0.001) as supervisor:
        supervisor.run("failing", failing)
        supervisor.every("beating", 0.001, lambda: beats.put(None))
        await again.wait()
        for _ in range(3):
            await beats.get()

    assert len(tries) >= 2


async def test_leaving_ends_every_service() -> None:
    ended = asyncio.Event()
    begun = asyncio.Event()

    async def service() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    async with asyncio.timeout(60), Supervisor() as supervisor:
        supervisor.run("service", service)
        await begun.wait()

    assert ended.is_set()
