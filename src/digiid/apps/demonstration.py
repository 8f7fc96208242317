"""Who lives in a demonstration state: written by the seed, read by `up`, the help pages and the tests."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from digiid.kernel.errors import Broken

PIN1, PIN2, PUK = "1234", "12345", "12345678"


@dataclass(frozen=True, slots=True)
class TestPerson:
    """A visibly invented person with a card on the shelf. `role` says what to try with it."""

    __test__ = False  # not a test case, whatever pytest thinks of the name

    given_names: str
    surname: str
    personal_code: str
    document_number: str
    role: str


def write_people(state: Path, people: list[TestPerson]) -> None:
    """Remember the seeded people in the state's folder."""
    text = json.dumps([asdict(person) for person in people], ensure_ascii=False, indent=1)
    file = state / "demonstration.json"
    part = file.with_suffix(".part")
    part.write_text(text, encoding="utf-8")
    part.replace(file)


def read_people(state: Path) -> list[TestPerson]:
    """The seeded people, none if the state was made without a demonstration. Raises: Broken `demonstration.people`."""
    file = state / "demonstration.json"
    if not file.exists():
        return []
    try:
        return [TestPerson(**entry) for entry in json.loads(file.read_text(encoding="utf-8"))]
    except (ValueError, TypeError) as error:
        raise Broken("demonstration.people", f"{file} is not what the seed wrote") from error
