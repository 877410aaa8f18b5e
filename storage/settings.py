"""The `storage` section of the config."""

from typing import Literal

from pydantic import BaseModel, ConfigDict


class StorageSettings(BaseModel):
    """Where and how durably things are kept."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: str = "sqlite:///{data_dir}/tollwatch.db"
    durability: Literal["normal", "full"] = "normal"
    """`normal` survives any crash of the process, `full` also a power loss."""
