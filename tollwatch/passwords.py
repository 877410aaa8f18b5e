"""The command on the API's password, as the running gateway (or the command itself, when none runs) carries it out."""

from collections.abc import Mapping
from typing import Any

from api.passwords import Passwords
from tollwatch.control import Command
from tollwatch.first_start import SetupCodeFile


def password_commands(passwords: Passwords, code: SetupCodeFile) -> Mapping[str, Command]:
    """Return the commands by their names."""

    async def reset(given: Mapping[str, Any]) -> Any:  # noqa: ANN401  # any JSON value
        await passwords.forget(actor=given["actor"])
        return {"setup_code": code.renew()}

    return {"password.reset": reset}
