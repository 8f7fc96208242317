"""What the register offers on the exchange: decode, call the use case, encode what is on record."""

from digiid.contracts import population_register as contract
from digiid.contracts.operation import Done
from digiid.exchange.consent import revocation_service
from digiid.exchange.gate import Caller, Service
from digiid.institutions.population_register import use_cases
from digiid.institutions.population_register.domain import DocumentStatus
from digiid.institutions.population_register.use_cases import Deps


def services(deps: Deps) -> list[Service]:
    offered = [*_persons(deps), *_addresses_and_family(deps), *_documents(deps)]
    if deps.consents is not None:
        offered.append(revocation_service(deps.consents.revocations))
    return offered


def _persons(deps: Deps) -> list[Service]:
    def register(caller: Caller, request: contract.RegisterPerson) -> contract.PersonRegistered:
        code = use_cases.register_person(deps, request, caller=caller)
        return contract.PersonRegistered(personal_code=code.value)

    def find(caller: Caller, request: contract.FindPersons) -> contract.PersonsFound:
        matches = use_cases.find_persons(deps, request, caller=caller)
        return contract.PersonsFound(
            matches=tuple(
                contract.PersonMatch(
                    personal_code=match.person.personal_code,
                    given_names=match.person.given_names,
                    surname=match.person.surname,
                    born_on=match.person.born_on,
                    similarity=match.similarity,
                )
                for match in matches.value
            )
        )

    def get(caller: Caller, request: contract.GetPerson) -> contract.Person:
        person = use_cases.get_person(deps, request.personal_code, caller=caller).value
        return contract.Person(
            personal_code=person.personal_code,
            given_names=person.given_names,
            surname=person.surname,
            born_on=person.born_on,
            citizenships=person.citizenships,
            basis=person.basis,
        )

    def over_age(caller: Caller, request: contract.IsOverAge) -> contract.OverAge:
        is_over = use_cases.is_over_age(deps, request.personal_code, request.years, caller=caller)
        return contract.OverAge(is_over=is_over.value)

    def name(caller: Caller, request: contract.CheckName) -> contract.NameChecked:
        agrees = use_cases.check_name(
            deps, request.personal_code, given_names=request.given_names, surname=request.surname, caller=caller
        )
        return contract.NameChecked(agrees=agrees.value)

    return [
        Service(contract.REGISTER_PERSON, register),
        Service(contract.FIND_PERSONS, find),
        Service(contract.GET_PERSON, get),
        Service(contract.IS_OVER_AGE, over_age),
        Service(contract.CHECK_NAME, name),
    ]


def _addresses_and_family(deps: Deps) -> list[Service]:
    def address(caller: Caller, request: contract.GetAddress) -> contract.Address:
        return use_cases.get_address(deps, request, caller=caller).value

    def family(caller: Caller, request: contract.GetFamily) -> contract.Family:
        relatives = use_cases.get_family(deps, request.personal_code, caller=caller)
        return contract.Family(
            members=tuple(
                contract.FamilyMember(
                    relation=relative.relation,
                    personal_code=relative.person.personal_code,
                    name=f"{relative.person.given_names} {relative.person.surname}",
                    is_minor=relative.is_minor,
                    has_custody=relative.has_custody,
                    from_on=relative.from_on,
                )
                for relative in relatives.value
            )
        )

    def represents(caller: Caller, request: contract.RepresentsMinor) -> contract.MinorRepresentation:
        decided = use_cases.represents_minor(
            deps, representative_code=request.representative_code, minor_code=request.minor_code, caller=caller
        )
        may, reason = decided.value
        return contract.MinorRepresentation(represents=may, reason=reason)

    return [
        Service(contract.GET_ADDRESS, address),
        Service(contract.GET_FAMILY, family),
        Service(contract.REPRESENTS_MINOR, represents),
    ]


def _documents(deps: Deps) -> list[Service]:
    def record(caller: Caller, request: contract.RecordDocumentStatus) -> Done:
        told = DocumentStatus(
            request.document_number,
            request.personal_code,
            request.policy,
            request.state,
            request.expires_on,
            request.changed_at,
        )
        use_cases.record_document_status(deps, told, notice_id=request.notice_id, caller=caller)
        return Done()

    def valid(caller: Caller, request: contract.HasValidDocument) -> contract.ValidDocument:
        holds = use_cases.has_valid_document(deps, request.personal_code, caller=caller)
        return contract.ValidDocument(holds_valid=holds.value)

    return [Service(contract.RECORD_DOCUMENT_STATUS, record), Service(contract.HAS_VALID_DOCUMENT, valid)]
