"""The whole config: every package's section in one frozen model."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

from pydantic import BeforeValidator, Field, ValidationError, field_validator, model_validator

from alerting.notify.settings import NotifySettings
from alerting.rule_settings import RuleSettings
from alerting.settings import AlertingSettings, DetectorSettings, RuleHealthSettings
from alerting.usage_settings import UsageAlertSettings
from api.settings import ApiSettings
from metering.settings import BudgetSettings, MeteringSettings, PricingSettings, Section, ServiceSettings, UserSettings
from proxy.settings import IdentitySource, ProxySettings
from storage.settings import StorageSettings
from tollwatch.configerrors import sentences
from tollwatch.rawconfig import DEFAULT_DATA_DIR, ConfigError, RawConfig, absolute, read_config


def listen_address(value: str) -> tuple[str, int]:
    """Return the host and port of `127.0.0.1:8080` or `[::1]:8080`; raise ValueError with the remedy otherwise."""
    host, _, port = value.rpartition(":")
    host = host.strip("[]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{value!r} is not an address to listen on: write host:port, for example '127.0.0.1:8080'")
    return host, int(port)


class OrganizationSettings(Section):
    """The `organization` section."""

    id: UUID | None = None
    name: str = Field(default="local", min_length=1, max_length=200)


class LogSettings(Section):
    """The `log` section."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "console", "json"] = "auto"


def _data_dir(value: object) -> object:
    return absolute(value) if isinstance(value, str) else value


class Config(Section):
    """The whole file; a missing key has its default."""

    version: Literal[1] = 1
    data_dir: Annotated[Path, BeforeValidator(_data_dir)] = Field(default=Path(DEFAULT_DATA_DIR), validate_default=False)
    mode: Literal["enforce", "monitor"] = "enforce"
    organization: OrganizationSettings = OrganizationSettings()
    metering: MeteringSettings = MeteringSettings()
    proxy: ProxySettings = ProxySettings()
    identity: tuple[IdentitySource, ...] = (IdentitySource(proxy_auth=True), IdentitySource(header="x-tollwatch-user"))
    users: tuple[UserSettings, ...] = ()
    services: tuple[ServiceSettings, ...] = ()
    api: ApiSettings = ApiSettings()
    storage: StorageSettings = StorageSettings()
    pricing: PricingSettings = PricingSettings()
    budgets: tuple[BudgetSettings, ...] = ()
    rules: tuple[RuleSettings, ...] = ()
    detectors: DetectorSettings = DetectorSettings()
    rule_health: RuleHealthSettings = RuleHealthSettings()
    alerting: AlertingSettings = AlertingSettings()
    usage_alerts: tuple[UsageAlertSettings, ...] = ()
    notify: NotifySettings = NotifySettings()
    log: LogSettings = LogSettings()

    @field_validator("api")
    @classmethod
    def _address(cls, section: ApiSettings) -> ApiSettings:
        try:
            listen_address(section.listen)
        except ValueError as error:
            raise ValueError(f"listen: {error}") from error
        return section

    @field_validator("users", "services", "budgets", "rules", "usage_alerts")
    @classmethod
    def _named_once[T: tuple[Any, ...]](cls, items: T) -> T:
        seen: set[str] = set()
        for item in items:
            name = str(getattr(item, "id", None) or item.name)
            if name in seen:
                raise ValueError(f"{name!r} stands twice; give each its own name")
            seen.add(name)
        return items

    @model_validator(mode="after")
    def _doors_apart(self) -> "Config":
        addresses = [self.proxy.listen, self.proxy.base_url_listen, self.api.listen]
        fixed = [address for address in addresses if listen_address(address)[1]]
        for address in fixed:
            if fixed.count(address) > 1:
                raise ValueError(f"proxy.listen, proxy.base_url_listen and api.listen must differ, but {address} stands for more than one")
        return self

    @model_validator(mode="after")
    def _certificates_are_asked_for(self) -> "Config":
        if self.proxy.client_certificates == "off" and any(source.client_certificate for source in self.identity):
            raise ValueError(
                "identity reads client_certificate, but proxy.client_certificates is off: nobody is asked for one; "
                "write `optional` or `required` there"
            )
        return self

    @model_validator(mode="after")
    def _budgets_of_usage_alerts(self) -> "Config":
        known = [budget.name for budget in self.budgets]
        for alert in self.usage_alerts:
            if alert.budget is not None and alert.budget not in known:
                raise ValueError(
                    f"usage_alerts: {alert.name!r} looks at the budget {alert.budget!r}, which is not there: "
                    f"{'name one of ' + ', '.join(known) if known else 'add it under budgets'}, or leave `budget` out"
                )
        return self

    @property
    def database_path(self) -> Path:
        """Where the SQLite file of `storage.url` is."""
        scheme, _, path = self.storage.url.partition("///")
        if scheme != "sqlite:":
            raise ConfigError(
                f"storage.url {self.storage.url.partition('://')[0]}://… is not supported: write 'sqlite:///{{data_dir}}/tollwatch.db'"
            )
        return absolute(path.replace("{data_dir}", str(self.data_dir)))


def load_config(explicit: Path | None = None, environ: Mapping[str, str] | None = None) -> Config:
    """Return the config that applies, or raise ConfigError with one sentence for each fault."""
    return validate(read_config(explicit, os.environ if environ is None else environ))


def validate(raw: RawConfig) -> Config:
    """Return the config that `raw` means, or raise ConfigError with one sentence for each fault."""
    try:
        config = Config.model_validate({**raw.values, "data_dir": raw.values.get("data_dir", DEFAULT_DATA_DIR)})
    except ValidationError as error:
        raise ConfigError("\n".join(sentences(error, raw, Config))) from error
    _ = config.database_path
    return config
