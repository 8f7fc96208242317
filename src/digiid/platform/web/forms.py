"""From a posted form to a frozen model, or to errors that stand beside their fields."""

import unicodedata
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

from litestar.datastructures import UploadFile
from pydantic import BaseModel, ValidationError

from digiid.kernel.errors import Malformed
from digiid.platform.web import N_

MAX_FIELDS = 200
MAX_VALUE_LENGTH = 20_000
# What a person reads when a page has no words of its own for a field, by pydantic's type of error.
_TEXTS = {
    "missing": N_("Fill in this field"),
    "string_too_short": N_("This is too short"),
    "string_too_long": N_("This is too long"),
    "too_short": N_("Choose at least one"),
    "literal_error": N_("Choose one of the options"),
    "enum": N_("Choose one of the options"),
    "int_parsing": N_("Enter a whole number"),
    "date_from_datetime_parsing": N_("Enter a date as year-month-day, for example 1990-05-31"),
    "date_parsing": N_("Enter a date as year-month-day, for example 1990-05-31"),
}
_OTHERWISE = N_("Check this field")
_GENERAL = frozenset({*_TEXTS.values(), _OTHERWISE})
_NO_TEXT = frozenset({"Cc", "Cs"})  # controls (PostgreSQL stores no NUL) and lone surrogates

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Upload:
    """A file from a form, already within the site's size limit."""

    name: str
    media_type: str
    content: bytes


@dataclass
class Form(Generic[T]):
    """What was posted: the values as typed, the files, and after `check` the model or the errors by field.

    `labels` are filled in by the page while it is written, for the summary above it.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    files: Mapping[str, Upload] = field(default_factory=dict)
    errors: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    model: T | None = None

    def value(self, name: str) -> str:
        """The typed text of a field, empty if there is none."""
        found = self.values.get(name, "")
        return found if isinstance(found, str) else str(found[-1]) if found else ""

    def chosen(self, name: str) -> list[str]:
        """Every value of a field that may be ticked several times."""
        found = self.values.get(name, [])
        return list(found) if isinstance(found, Sequence) and not isinstance(found, str) else [found] if found else []

    @staticmethod
    def is_general(message: str) -> bool:
        """Whether a message makes sense beside its field only, and needs the field's label elsewhere."""
        return message in _GENERAL

    def error(self, name: str, message: str) -> None:
        """Put a message beside a field; the first one stays."""
        self.errors.setdefault(name, message)


async def read_form(request: Any) -> Form[Any]:
    """Read an urlencoded or multipart body that the site has already limited in size.

    A value that is too long or has control characters comes with an error of its field. Raises: Malformed
    `web.form` for too many fields.
    """
    data = await request.form()
    values: dict[str, Any] = {}
    files: dict[str, Upload] = {}
    errors: dict[str, str] = {}
    for count, (name, value) in enumerate(data.multi_items()):
        if count >= MAX_FIELDS:
            raise Malformed("web.form", f"more than {MAX_FIELDS} fields", public=N_("The form has too many fields."))
        if isinstance(value, UploadFile):
            content = await value.read()
            if content or value.filename:
                files[name] = Upload(value.filename or "file", value.content_type or "", content)
        else:
            text = str(value).replace("\r\n", "\n").strip()
            if len(text) > MAX_VALUE_LENGTH:
                errors[name] = N_("This is too long")
                text = text[:MAX_VALUE_LENGTH]
            if any(unicodedata.category(char) in _NO_TEXT and char not in "\n\t" for char in text):
                errors[name] = N_("Remove characters that cannot be shown")
                text = "".join(char for char in text if unicodedata.category(char) not in _NO_TEXT or char in "\n\t")
            if name in values:
                earlier = values[name]
                values[name] = [*earlier, text] if isinstance(earlier, list) else [earlier, text]
            else:
                values[name] = text
    return Form(values, files, errors)


def check(form: Form[Any], model: type[T], messages: Mapping[str, str] | None = None) -> T | None:
    """Fill `form.model` or `form.errors`. `messages` maps a field to what a person should read when it is wrong.

    A field whose annotation is a tuple receives every value of its name; an empty text counts as not given.
    """
    raw: dict[str, Any] = {}
    for name, info in model.model_fields.items():
        if name not in form.values:
            continue
        many = str(info.annotation).startswith(("tuple", "list", "frozenset"))
        value: Any = form.chosen(name) if many else form.value(name)
        if value not in ("", []):
            raw[name] = value
    try:
        form.model = model.model_validate(raw)
    except ValidationError as error:
        for problem in error.errors():
            name = str(problem["loc"][0]) if problem["loc"] else "form"
            text = _TEXTS.get(problem["type"], _OTHERWISE)
            if problem["type"] == "value_error":
                text = str(problem["msg"]).removeprefix("Value error, ")
            form.error(name, (messages or {}).get(name) or text)
    return form.model if not form.errors else None
