"""SQLite takes any text into VARCHAR(20) and any number into INTEGER; PostgreSQL, which states run on, does not.

With this, what PostgreSQL would refuse fails in every test of this process that runs on SQLite.
"""

from typing import Any

from sqlalchemy import BigInteger, Integer, String, event
from sqlalchemy.engine import Engine

_INT4, _INT8 = 1 << 31, 1 << 63


class PostgresqlWouldRefuse(AssertionError):
    """A value does not fit its column."""


def be_strict() -> None:
    event.listen(Engine, "before_cursor_execute", _check)


def _check(_connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
    compiled = getattr(context, "compiled", None)
    if compiled is None or context.dialect.name != "sqlite":
        return
    is_written = context.isinsert or context.isupdate
    for parameters in context.compiled_parameters:
        for name, value in parameters.items():
            if isinstance(value, str) and "\0" in value:  # in a question, too
                raise PostgresqlWouldRefuse(f"{name}: a NUL in a text: {value[:80]!r}")
            bind = compiled.binds.get(name)
            if is_written and bind is not None and value is not None:
                _check_value(name, value, bind.type)


def _check_value(name: str, value: Any, kind: Any) -> None:
    kind = getattr(kind, "impl_instance", kind)
    if isinstance(value, str) and isinstance(kind, String):
        if kind.length is not None and len(value) > kind.length:
            raise PostgresqlWouldRefuse(f"{name}: {len(value)} characters into {kind.length}: {value[:80]!r}")
    elif isinstance(value, int) and isinstance(kind, Integer) and not isinstance(value, bool):
        limit = _INT8 if isinstance(kind, BigInteger) else _INT4
        if not -limit <= value < limit:
            raise PostgresqlWouldRefuse(f"{name}: {value} into {kind!r}")
