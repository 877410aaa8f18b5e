"""The gateway, wired: read it top to bottom."""

import asyncio
import gc
import resource
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from datetime import timedelta
from typing import Final

import structlog
from prometheus_client import CollectorRegistry

from alerting.baselines import Baselines
from alerting.book import AlertBook
from alerting.changes import AlertChanges
from alerting.entries import EntryBook
from alerting.lockout import Lockouts
from alerting.notify.deliveries import prune_deliveries
from alerting.notify.outbox import Outbox
from alerting.rule_counts import RuleCounts
from alerting.rule_hooks import RuleHooks
from alerting.rule_watch import RuleWatch
from alerting.rulebook import RuleBook
from alerting.silences import SilenceBook
from alerting.suppression import Suppression
from api.access import Access
from api.app import create_app
from api.listener import ApiServer
from api.services import Services
from api.streams import Streams
from metering.budget_hours import roll_up_budgets
from metering.budgets import BudgetBook
from metering.estimates import Estimates
from metering.jobs import KEPT
from metering.learning import Learner
from metering.ledger import Ledger
from metering.meter import Meter
from metering.price_lists import FOLDER as PRICES_FOLDER
from metering.price_lists import keep as keep_prices
from metering.prices import PriceBook
from metering.providers.catalog import CANARY_HOST
from metering.pruning import prune
from metering.rollups import roll_up
from metering.spool import Spool
from metering.telemetry import Telemetry
from metering.tokens import TokenCounter
from proxy.ca import CertificateAuthority
from proxy.canary import CanaryFailed
from proxy.client_certificates import ClientRegister
from proxy.server import ProxyServer
from storage.audit import AuditTrail
from storage.keyed import KeyedHash
from storage.lock import GatewayLock
from storage.sqlite import SqliteDatabase
from tollwatch import __version__
from tollwatch.baseline_commands import baseline_commands
from tollwatch.callline import call_lines
from tollwatch.channel_commands import channel_commands
from tollwatch.config import Config, listen_address
from tollwatch.control import Commands, ControlServer, socket_path
from tollwatch.environment import CA_FOLDER
from tollwatch.first_start import SetupCodeFile, first_start
from tollwatch.health import ClockWatch, PricesWatch
from tollwatch.judging import Judge, Parts, build_gate
from tollwatch.notifying import build_notifying
from tollwatch.passwords import password_commands
from tollwatch.people import client_certificates, people_commands
from tollwatch.probe import with_free_probe, with_probe_prefix
from tollwatch.reload import Reloader
from tollwatch.resetting import BudgetReset, budget_commands
from tollwatch.rule_commands import rule_commands
from tollwatch.selftest import in_force_commands
from tollwatch.silence_commands import silence_commands
from tollwatch.state import Running, State
from tollwatch.store import now
from tollwatch.supervisor import Supervisor
from tollwatch.usage import build_usage

_log = structlog.get_logger(__name__)

GRACE: Final = timedelta(seconds=8)
"""How long calls in flight may take to end after SIGTERM; then they are settled as they stand."""
_YOUNG: Final = 20_000
"""Objects after which the cycle collector looks for garbage. Calls leave none, but a dozen in flight have thousands of objects: at Python's
700 it ran every 17 calls, found nothing, and threw what they work with out of the caches."""
_OLDER: Final = (3, 2)
"""Rounds over the young before one over what outlived one, and rounds of those before one over all: streams live so long that they are
among the oldest when they end, and their connections are garbage that only such a round finds."""
_MINUTE: Final = 60.0
_DAY: Final = 86_400.0
_ROLL_UP: Final = 300.0
_ENTRIES: Final = 1.0
"""Between two looks for new detections; whoever asks for entries looks at once."""
_SPOOL: Final = 1.0
"""Between two attempts to write what is spooled into the ledger."""


async def serve(  # noqa: PLR0915  # one straight list is easier to read than its parts
    config: Config, *, reread: Callable[[], Config], announce: Callable[[Running], None]
) -> None:
    """Run until SIGTERM or SIGINT. What cannot start raises with cause and remedy; CanaryFailed when it would not protect."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold prompts and keys
    async with AsyncExitStack() as stack:
        stop, hangup = _signals(stack)
        installation = first_start(config.data_dir, org_id=config.organization.id)
        state = State(instance=str(installation.org_id)[:8], mode=config.mode, started_at=now())

        # The store and what it keeps. Leaving writes what still waits, in reverse order.
        stack.enter_context(GatewayLock(config.database_path))
        database = await SqliteDatabase.open(config.database_path, durability=config.storage.durability)
        stack.push_async_callback(database.close)
        for warning in database.warnings:
            _log.warning("store_warning", message=warning)
        judge = Judge()
        outbox = Outbox()
        book = AlertBook(database, org_id=str(installation.org_id), settings=config.alerting, now=now, outbox=outbox)
        stack.push_async_callback(book.drain)
        silences = SilenceBook(database, defined=config.alerting.silences, now=now)
        await silences.load()
        suppression = Suppression(database, silences, now=now)
        notifying = await build_notifying(config, installation, database=database, outbox=outbox, suppression=suppression, stack=stack)
        entries = EntryBook(database, book, suppression=suppression, line=state.instance, now=now)
        await entries.configs.follow_file(config.alerting.entry_configs)
        for config_id in await entries.configs.broken():
            _log.warning("entry_config_unreadable", config_id=config_id, remedy="delete it, or start the version that made it")
        budgets = BudgetBook(config.budgets).all
        ledger = Ledger(database, instance=state.instance, now=now, on_settled=judge.on_settled, budgets=budgets, on_health=judge.on_health)
        stack.push_async_callback(ledger.drain)
        spool = Spool(
            config.data_dir,
            database,
            ledger,
            instance=state.instance,
            now=now,
            on_settled=judge.on_settled,
            on_change=judge.on_spool,
        )
        stack.push_async_callback(spool.close)
        if spooled := await spool.recover():
            _log.info("spool_replayed_at_start", bytes=spooled)
        recovered = await ledger.recover()

        # What judges.
        estimates = Estimates()
        counter = TokenCounter(estimates)
        await counter.warm()
        learner = Learner(database, estimates, counter, now=now)
        await learner.load()
        stack.push_async_callback(learner.learn)
        prices = PriceBook(with_free_probe(config.pricing), now=now())
        keep_prices(prices, config.data_dir / PRICES_FOLDER, now())
        meter = Meter(prices, counter, config.metering)
        meter.remember(await ledger.jobs(limit=KEPT))
        lockouts = Lockouts(database, book, now=now)
        await lockouts.load(within=config.detectors.lockout.within)
        rules = RuleBook(database, file=config.rules, where="its `rules` section", now=now)
        await rules.load()
        rules.check()
        register = ClientRegister(database, now=now)
        await register.load()
        baselines = Baselines(database, now=now)
        streams = Streams(AlertChanges(database), ledger)
        usage = await build_usage(
            config, database=database, book=book, budgets=budgets, on_notice=lambda notice: streams.tell(notice.as_json())
        )
        judge.on_ended = usage.watch.settled
        rule_counts = RuleCounts(database)
        stack.push_async_callback(rule_counts.drain)
        parts = Parts(
            database=database,
            ledger=ledger,
            meter=meter,
            counter=counter,
            book=book,
            rules=rules,
            rule_counts=rule_counts,
            baselines=baselines,
            key=installation.key,
            learner=learner,
            spool=spool,
            lockouts=lockouts,
            revoked=register.revoked,
        )
        judge.swap(build_gate(config, parts))
        rules.on_change = judge.follow
        rule_watch = RuleWatch(
            database=database, book=book, counts=rule_counts, rules=lambda: judge.gate.rules, settings=config.rule_health, now=now
        )
        judge.on_health(None)  # ends an alert that an earlier run left
        judge.on_spool(0)  # the same
        judge.on_channel(None)  # the same
        notifying.sender.on_trouble = judge.on_channel
        judge.gate.orphaned(recovered)

        # The doors.
        authority = CertificateAuthority.open_or_create(config.data_dir / CA_FOLDER, config.proxy.decrypted_hosts)
        if authority.renewed:
            _log.warning("ca_renewed", reason=authority.renewed, remedy="start programs that run through the gateway again")
        keyed = KeyedHash(installation.key)
        registry = CollectorRegistry()
        access = Access(database, settings=config.api.sessions, setup_code=SetupCodeFile(config.data_dir), now=now, report=book.enqueue)
        services = Services(
            access=access,
            alerts=book,
            audit=AuditTrail(database),
            silences=silences,
            suppression=suppression,
            rules=rules,
            rule_watch=rule_watch,
            entries=entries,
            rule_hooks=RuleHooks(database, book, now=now),
            gateway_policies=notifying.policies,
            webhooks=notifying.desk,
            usage_alerts=usage.alerts,
            usage_trials=usage.trials,
            ledger=ledger,
            streams=streams,
            status=lambda: state.status(ledger),
            settings=config.api,
            registry=registry,
            now=now,
        )
        api = ApiServer(create_app(services))
        stack.push_async_callback(api.stop)
        await api.start(*listen_address(config.api.listen), authority.leaf_context() if config.api.tls == "auto" else None)
        state.doors["api"] = _door(api.address)
        call_log = call_lines(config.log)
        if call_log is not None:
            stack.callback(call_log.flush)
        proxy = ProxyServer(
            settings=with_probe_prefix(config.proxy),
            identity=config.identity,
            users=config.users,
            services=config.services,
            gate=judge,
            ca_dir=config.data_dir / CA_FOLDER,
            key_hasher=lambda key: keyed.hex(b"key\0" + key)[:16],
            now=now,
            telemetry=Telemetry(registry),
            own_ports=lambda: {api.address[1]} if api.address else set(),
            record=call_log,
            metering=config.metering,
            certificates=client_certificates(config, register),
        )
        stack.push_async_callback(proxy.stop, grace=GRACE)
        await proxy.start()
        state.doors |= {"forward": _door(proxy.forward_address), "base_url": _door(proxy.base_url_address)}

        # The proof, before anybody is told that it is ready.
        await _prove(proxy, ledger)
        state.canary_held = True

        # What runs beside.
        async def follow(new: Config) -> None:
            proxy.follow(new.users)
            silences.follow(new.alerting.silences)
            usage.watch.follow(BudgetBook(new.budgets).all)
            await usage.alerts.follow(new.usage_alerts)
            await entries.configs.follow_file(new.alerting.entry_configs)

        async def prune_more() -> None:
            before = now() - timedelta(days=(await book.toggles()).retention_days)
            await silences.prune(before)
            await entries.prune(before)

        reloader = Reloader(config, parts=parts, judge=judge, reread=reread, state=state, now=now, follow=follow)
        more = {
            **people_commands(lockouts, register),
            **rule_commands(rules),
            **silence_commands(silences),
            **channel_commands(database, notifying, usage),
            **baseline_commands(baselines, book),
            **budget_commands(BudgetReset(database, ledger, book, now)),
            **password_commands(access.passwords, SetupCodeFile(config.data_dir)),
            **in_force_commands(lambda: judge.gate.rules, lambda: state.mode),
        }
        commands = Commands(tokens=access.tokens, alerts=book, reload=reloader, more=more)
        control = ControlServer(socket_path(config.data_dir), commands)
        stack.push_async_callback(control.stop)
        await control.start()
        supervisor = await stack.enter_async_context(Supervisor())
        supervisor.every("expire_alerts", _MINUTE, lambda: book.expire(now()))
        supervisor.every("prune_alerts", _DAY, lambda: book.prune(now()))
        supervisor.every("prune_silences_and_entries", _DAY, prune_more)
        supervisor.every("entries", _ENTRIES, entries.follow)
        supervisor.every("prices", _DAY, PricesWatch(lambda: judge.gate, as_of=prices.as_of, version=prices.version, now=now).check)
        supervisor.run("sender", notifying.sender.run)
        supervisor.every("prune_deliveries", _DAY, lambda: prune_deliveries(database, now=now()))
        supervisor.run("learning", learner.run)
        supervisor.run("usage_alerts", usage.watch.run)
        supervisor.run("rules", lambda: rule_watch.run(judge.swapped))
        supervisor.every("roll_up", _ROLL_UP, lambda: roll_up(database, now=now()))
        supervisor.every("roll_up_budgets", _ROLL_UP, lambda: roll_up_budgets(database))
        supervisor.every("prune_calls", _DAY, lambda: prune(database, before=now() - timedelta(days=config.metering.retention_days)))
        supervisor.every("spool", _SPOOL, spool.replay)
        supervisor.run("clock", ClockWatch(lambda: judge.gate, now=now).run)
        supervisor.run("reload", lambda: reloader.at_each(hangup))

        gc.collect()
        gc.freeze()  # what start-up made stays for good: the collector need not look at it again
        gc.collect()  # nor measure by it: the oldest are looked at once they have grown by a quarter of what the last look found
        gc.set_threshold(_YOUNG, *_OLDER)
        announce(
            Running(
                config=config,
                installation=installation,
                forward=_door(proxy.forward_address),
                base_url=_door(proxy.base_url_address),
                api=_door(api.address),
                recovered=recovered,
            )
        )
        _log.info("ready", version=__version__, mode=config.mode, recovered_calls=recovered, doors=state.doors)
        await stop.wait()
        state.ending = True
        if call_log is not None:
            call_log.flush()  # what ended before stands before
        _log.info("ending", grace_seconds=GRACE.total_seconds())
    _log.info("ended")


async def _prove(proxy: ProxyServer, ledger: Ledger) -> None:
    """Send the canary; it must be refused, and the refusal must stand in the ledger. Raises CanaryFailed."""
    begun = now()
    await proxy.canary()
    rows = await ledger.rows(since=begun, newest_first=True, limit=100)
    if not any(row.host == CANARY_HOST and row.state == "refused" for row in rows):
        raise CanaryFailed(
            "The start-up canary was refused, but its refusal is not in the ledger: the gateway would not record what it blocks"
        )


def _signals(stack: AsyncExitStack) -> tuple[asyncio.Event, asyncio.Event]:
    loop = asyncio.get_running_loop()
    stop, hangup = asyncio.Event(), asyncio.Event()
    for number, event in ((signal.SIGTERM, stop), (signal.SIGINT, stop), (signal.SIGHUP, hangup)):
        loop.add_signal_handler(number, event.set)
        stack.callback(loop.remove_signal_handler, number)
    return stop, hangup


def _door(address: tuple[str, int] | None) -> str:
    host, port = address or ("?", 0)
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
