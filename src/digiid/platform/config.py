"""One TOML file per process, read once into a frozen model; every field has a default or a check."""

import tomllib
from pathlib import Path
from typing import TypeVar

from pydantic import BaseModel, ConfigDict, ValidationError

from digiid.kernel.errors import Malformed

_MAX_BYTES = 1024 * 1024


class Settings(BaseModel):
    """The base of every settings model: frozen, and an unknown key is an error, not a typo that is ignored."""

    model_config = ConfigDict(frozen=True, extra="forbid")


T = TypeVar("T", bound=BaseModel)


def load_settings(file: Path, model: type[T]) -> T:
    """Read and check a settings file.

    Raises: Malformed `config.unreadable` or `config.invalid`, naming each wrong key in plain words.
    """
    try:
        raw = file.read_bytes()
        if len(raw) > _MAX_BYTES:
            raise Malformed("config.unreadable", f"{file} is larger than {_MAX_BYTES} bytes")
        values = tomllib.loads(raw.decode("utf-8"))
    except OSError as error:
        raise Malformed("config.unreadable", f"{file}: {error.strerror}") from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise Malformed("config.unreadable", f"{file}: {error}") from error
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise Malformed("config.invalid", f"{file}: {problems}") from error
