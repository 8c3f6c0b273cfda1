"""Base of every typed configuration section: immutable, and an unknown key is an error."""

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """A section of the configuration."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)
