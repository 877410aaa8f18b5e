"""How a command writes: through the running gateway, or here under its lock when none runs."""

import asyncio
import getpass
from argparse import Namespace
from contextlib import AsyncExitStack
from typing import Any

from alerting.baselines import Baselines
from alerting.book import AlertBook
from alerting.lockout import Lockouts
from alerting.notify.outbox import Outbox
from alerting.rulebook import RuleBook
from alerting.silences import SilenceBook
from alerting.suppression import Suppression
from api.passwords import Passwords
from api.tokens import Tokens
from metering.budgets import BudgetBook
from metering.ledger import Ledger
from proxy.client_certificates import ClientRegister
from storage.database import StoreError
from storage.lock import GatewayLock, LockHeld
from storage.sqlite import SqliteDatabase
from tollwatch.baseline_commands import baseline_commands
from tollwatch.channel_commands import channel_commands
from tollwatch.config import Config, load_config
from tollwatch.control import Commands, ControlError, ask, socket_path
from tollwatch.exits import CommandError
from tollwatch.first_start import FirstStartError, SetupCodeFile, first_start
from tollwatch.notifying import build_notifying
from tollwatch.passwords import password_commands
from tollwatch.people import people_commands
from tollwatch.resetting import BudgetReset, budget_commands
from tollwatch.rule_commands import rule_commands
from tollwatch.silence_commands import silence_commands
from tollwatch.store import now
from tollwatch.usage import build_usage


def write(arguments: Namespace, command: str, /, **given: object) -> Any:  # noqa: ANN401  # any JSON value
    """Carry out one writing command and return its answer."""
    config = load_config(arguments.config)
    asked = {**given, "actor": f"cli:{getpass.getuser()}"}
    try:
        try:
            return ask(socket_path(config.data_dir), command, asked)
        except ConnectionRefusedError:
            return asyncio.run(_write_here(config, command, asked))
    except (ControlError, StoreError, FirstStartError) as error:
        raise CommandError(str(error)) from error
    except LockHeld as error:
        raise CommandError(
            f"Process {error.pid} holds {error.path} but does not answer on its control socket yet: try again when it is ready"
        ) from error


async def _write_here(config: Config, command: str, given: dict[str, object]) -> Any:  # noqa: ANN401  # any JSON value
    installation = first_start(config.data_dir, org_id=config.organization.id)
    async with AsyncExitStack() as stack:
        stack.enter_context(GatewayLock(config.database_path))
        database = await SqliteDatabase.open(config.database_path, durability=config.storage.durability)
        stack.push_async_callback(database.close)
        outbox = Outbox()
        book = AlertBook(database, org_id=str(installation.org_id), settings=config.alerting, now=now, outbox=outbox)
        silences = SilenceBook(database, defined=config.alerting.silences, now=now)
        await silences.load()
        suppression = Suppression(database, silences, now=now)
        notifying = await build_notifying(config, installation, database=database, outbox=outbox, suppression=suppression, stack=stack)
        usage = await build_usage(config, database=database, book=book, budgets=(), on_notice=lambda _notice: None)
        lockouts = Lockouts(database, book, now=now)
        await lockouts.load(within=config.detectors.lockout.within)
        register = ClientRegister(database, now=now)
        await register.load()
        rules = RuleBook(database, file=config.rules, where="its `rules` section", now=now)
        await rules.load()
        ledger = Ledger(database, instance="", now=now, on_settled=lambda _batch: None, budgets=BudgetBook(config.budgets).all)
        code = SetupCodeFile(config.data_dir)
        more = {
            **people_commands(lockouts, register),
            **rule_commands(rules),
            **silence_commands(silences),
            **channel_commands(database, notifying, usage),
            **baseline_commands(Baselines(database, now=now), book),
            **budget_commands(BudgetReset(database, ledger, book, now)),
            **password_commands(Passwords(database, setup_code=code, now=now), code),
        }
        return await Commands(tokens=Tokens(database, now=now), alerts=book, more=more).answer(command, given)
