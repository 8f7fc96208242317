"""No service tells about a person without a record: every one of them stands here, so that a new one cannot forget."""

import ast
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, get_args

import pytest

import digiid.contracts
import digiid.institutions
from digiid.contracts import consents
from digiid.contracts.members import BUSINESS_REGISTER, POLICE_BOARD
from digiid.contracts.openings import list_openings
from digiid.contracts.operation import CONSENT, NO_PERSONS, Message, Operation
from digiid.institutions.information_authority.web.tracker import CATEGORIES, LEGAL_BASES
from digiid.kernel.identifiers import ClientId

SOURCE = Path(digiid.institutions.__file__).parent

# What gives nothing away about anybody, and why.
NOTHING = {
    "EE/GOV/70000101/police/record-document-movement": "the asker tells; the reply is done",
    "EE/GOV/70000101/police/record-hand-over": "the asker tells; the reply is done",
    "EE/GOV/70000101/police/report-loss": "the holder tells; the reply is the time of the suspension",
    "EE/GOV/70000101/police/report-anomaly": "the asker tells; the reply is the number of a case",
    "EE/GOV/70000101/police/report-misuse": "the asker tells; the reply is the number of a case",
    "EE/GOV/70000102/bureau/order-document": "the asker tells; the reply is the new document's number",
    "EE/GOV/70000102/bureau/cancel-order": "the asker tells; the reply is done",
    "EE/GOV/70000102/bureau/take-pin-envelope": "ciphertext that the holder alone opens",
    "EE/GOV/70000102/bureau/destroy-pin-envelope": "the reply is done",
    "EE/GOV/70000102/bureau/list-pick-up-points": "places",
    "EE/GOV/70000103/population/record-document-status": "the asker tells; the reply is done",
    "EE/GOV/70000104/trust/issue-certificates": "the asker's own order, certified",
    "EE/GOV/70000104/trust/activate-certificates": "what the asker has just ordered",
    "EE/GOV/70000104/trust/suspend-certificates": "what the asker has just ordered",
    "EE/GOV/70000104/trust/resume-certificates": "what the asker has just ordered",
    "EE/GOV/70000104/trust/revoke-certificates": "what the asker has just ordered",
    "EE/GOV/70000106/business/find-companies": "companies",
}
# Services with paths of their own, by the file that makes them, and why they record nothing.
REST_SERVICES = {
    "exchange/usage.py": "the records themselves, told to the person whom they are about",
    "institutions/information_authority/consents/api.py": "whether a consent holds, told to its two parties",
}


def operations() -> dict[str, Operation[Any, Any]]:
    found: dict[str, Operation[Any, Any]] = {}
    for info in pkgutil.iter_modules(digiid.contracts.__path__):
        module = importlib.import_module(f"digiid.contracts.{info.name}")
        for value in vars(module).values():
            if isinstance(value, Operation):
                found[str(value.service)] = value
    return found


OPERATIONS = operations()
DISCLOSING = {name: operation for name, operation in OPERATIONS.items() if operation.discloses}


def test_every_operation_says_what_it_gives_away_or_stands_here_with_a_reason() -> None:
    assert set(OPERATIONS) == set(DISCLOSING) | set(NOTHING)
    assert not set(DISCLOSING) & set(NOTHING)


def test_every_rest_service_stands_here_with_a_reason() -> None:
    makers = {
        str(file.relative_to(SOURCE.parent))
        for file in SOURCE.parent.rglob("*.py")
        if file.name != "gate.py" and "apps" not in file.parts and "RestService(" in file.read_text()
    }
    assert makers == set(REST_SERVICES)


@pytest.mark.parametrize("name", sorted(DISCLOSING))
def test_by_what_right_each_client_is_told_stands_in_the_contract(name: str) -> None:
    operation = DISCLOSING[name]
    assert set(operation.legal_bases) == set(operation.allowed)
    assert all(operation.legal_bases.values())


@pytest.mark.parametrize("name", sorted(OPERATIONS))
def test_only_who_asks_by_a_law_may_have_a_look_at_a_person_kept_back(name: str) -> None:
    operation = OPERATIONS[name]
    assert operation.may_delay <= {POLICE_BOARD}  # a client more is a decision about a right: it belongs here
    assert not operation.may_delay or name in DISCLOSING
    assert not any(operation.needs_consent(client) for client in operation.may_delay)
    assert operation.may_delay <= set(operation.legal_bases)


# What an operator may open to others than the contracts name. One more is a decision about a right: it belongs here.
OPEN_TO_OTHERS = {
    "EE/GOV/70000103/population/get-address": CONSENT,
    "EE/GOV/70000106/business/find-companies": NO_PERSONS,
    "EE/GOV/70000106/business/get-company": "Commercial Register Act § 17: the register is public",
}


def test_only_what_stands_here_can_be_opened_to_others() -> None:
    assert {name: each.for_others for name, each in OPERATIONS.items() if each.for_others is not None} == OPEN_TO_OTHERS
    listed = {str(service): dict(endpoints) for service, endpoints in list_openings().items()}
    of_consents = listed.pop(str(consents.CONSENT))
    assert listed == {name: {("POST", "/v1"): basis} for name, basis in OPEN_TO_OTHERS.items()}
    assert set(of_consents) == set(consents.ENDPOINTS) - {
        consents.VALIDATE_FOR_DATA_PROVIDER,
        consents.REPORT_TRANSMISSION,
    }


@pytest.mark.parametrize("name", sorted(OPEN_TO_OTHERS))
def test_others_are_told_of_nobody_without_a_right(name: str) -> None:
    operation, other = OPERATIONS[name], ClientId("EE", "COM", "10000298", "school")
    assert (operation.for_others == NO_PERSONS) == (not operation.discloses)
    assert operation.basis_of(other) == operation.for_others
    assert operation.needs_consent(other) == (operation.for_others == CONSENT)


def test_who_is_named_is_answered_by_its_own_right_and_what_is_closed_has_none_for_others() -> None:
    address, person = (OPERATIONS[f"EE/GOV/70000103/population/get-{name}"] for name in ("address", "person"))
    assert address.basis_of(BUSINESS_REGISTER) == address.legal_bases[BUSINESS_REGISTER] != CONSENT
    assert person.basis_of(BUSINESS_REGISTER) is None and not person.needs_consent(BUSINESS_REGISTER)


@pytest.mark.parametrize("name", sorted(DISCLOSING))
def test_about_whom_is_a_field_that_the_messages_have(name: str) -> None:
    operation = DISCLOSING[name]
    for path in operation.about:
        side, *fields = path.split(".")
        model: Any = {"request": operation.request, "reply": operation.reply}[side]
        for field in fields:
            model = model.model_fields[field].annotation
            inner = [arg for arg in get_args(model) if isinstance(arg, type) and issubclass(arg, Message)]
            model = inner[0] if inner else model
        assert model is str


# ------------------------------------------------------------------ what api.py does with it


def api_modules() -> Iterator[ModuleType]:
    for file in sorted(SOURCE.rglob("api.py")):
        if "Service(contract." in file.read_text():
            yield importlib.import_module(
                f"digiid.institutions.{'.'.join(file.relative_to(SOURCE).with_suffix('').parts)}"
            )


def served() -> dict[str, tuple[ModuleType, ast.FunctionDef]]:
    """The function behind each operation, by the service's name."""
    found = {}
    for module in api_modules():
        tree = ast.parse(inspect.getsource(module))
        functions = {node.name: node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Service":
                contract, answer = node.args
                assert isinstance(contract, ast.Attribute)
                answer = answer.args[0] if isinstance(answer, ast.Call) else answer
                assert isinstance(answer, ast.Name)
                operation = getattr(vars(module)["contract"], contract.attr)
                found[str(operation.service)] = (module, functions[answer.id])
    return found


SERVED = served()


def use_cases_called(module: ModuleType, function: ast.FunctionDef) -> list[Any]:
    """The institution's own functions that an answer calls (`use_cases.get_person(…)`)."""
    called = []
    for node in ast.walk(function):
        match node:
            case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr=attribute)):
                owner = vars(module).get(name)
                if isinstance(owner, ModuleType) and "use_cases" in owner.__name__.split("."):
                    called.append(getattr(owner, attribute))
    return called


def test_every_operation_is_served_by_somebody() -> None:
    assert set(SERVED) == set(OPERATIONS)


@pytest.mark.parametrize("name", sorted(DISCLOSING))
def test_an_answer_about_a_person_is_made_of_a_disclosed_value_only(name: str) -> None:
    module, function = SERVED[name]
    called = use_cases_called(module, function)
    assert called
    for use_case in called:
        returned = inspect.signature(use_case).return_annotation
        assert getattr(returned, "__origin__", returned).__name__ == "Disclosed", use_case.__name__


@pytest.mark.parametrize("name", sorted(NOTHING))
def test_what_gives_nothing_away_has_no_disclosed_value_to_encode(name: str) -> None:
    module, function = SERVED[name]
    for use_case in use_cases_called(module, function):
        returned = inspect.signature(use_case).return_annotation
        assert getattr(getattr(returned, "__origin__", returned), "__name__", "") != "Disclosed"


@pytest.mark.parametrize("name", sorted(DISCLOSING))
def test_the_portal_has_words_for_what_is_disclosed_and_by_what_right(name: str) -> None:
    operation = DISCLOSING[name]
    assert set(operation.discloses) <= set(CATEGORIES)
    assert set(operation.legal_bases.values()) <= set(LEGAL_BASES)
