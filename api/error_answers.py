"""What errors look like in each feed, for their description."""

from collections.abc import Mapping

from pydantic import BaseModel, ConfigDict

from api.errors import Feed


class ErrorAnswer(BaseModel):
    """An error; it may have more keys than its feed names."""

    model_config = ConfigDict(extra="allow", use_attribute_docstrings=True)


class TextError(ErrorAnswer):
    """An error of the local feed, of the entries feed, and of what is in no feed."""

    error: str
    """What is wrong, and what to do."""


class OrgError(ErrorAnswer):
    """An error of the org feed."""

    error: str
    """A word for programs: invalid_request, unauthorized, forbidden, not_found, conflict, rate_limited, internal_error …"""
    message: str
    """What is wrong, and what to do."""


class AccountErrorDetail(BaseModel):
    """What is wrong."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    type: str
    """invalid_request_error, authentication_error, permission_error, not_found_error, rate_limit_error or api_error."""
    code: str
    """A word for programs: invalid_parameter, missing_api_key, invalid_api_key, expired_api_key, alert_not_found …"""
    message: str
    param: str | None
    """The parameter or key that is wrong."""


class AccountError(ErrorAnswer):
    """An error of the account feed."""

    error: AccountErrorDetail


class RulesErrorDetail(BaseModel):
    """What is wrong."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    code: str
    """A word for programs, in capitals: NOT_FOUND, INVALID_REQUEST, UNAUTHORIZED, CONFLICT …"""
    message: str


class RulesError(ErrorAnswer):
    """An error of the rules feed."""

    detail: str
    error: RulesErrorDetail


ERROR_MODELS: Mapping[Feed, type[ErrorAnswer]] = {
    "org": OrgError,
    "local": TextError,
    "entries": TextError,
    "account": AccountError,
    "rules": RulesError,
}
