"""What the register offers on the exchange."""

from digiid.contracts import population_register as contract
from digiid.exchange.gate import Caller, Service
from digiid.institutions.population_register import use_cases
from digiid.institutions.population_register.use_cases import Deps


def services(deps: Deps) -> list[Service]:
    def register(caller: Caller, request: contract.RegisterPerson) -> contract.PersonRegistered:
        code = use_cases.register_person(deps, request, asked_by=str(caller.client))
        return contract.PersonRegistered(personal_code=code)

    def find(caller: Caller, request: contract.FindPersons) -> contract.PersonsFound:
        matches = use_cases.find_persons(
            deps,
            given_names=request.given_names,
            surname=request.surname,
            born_on=request.born_on,
            purpose=request.purpose,
            by=str(caller.client),
        )
        return contract.PersonsFound(
            matches=tuple(
                contract.PersonMatch(
                    personal_code=match.person.personal_code,
                    given_names=match.person.given_names,
                    surname=match.person.surname,
                    born_on=match.person.born_on,
                    similarity=match.similarity,
                )
                for match in matches
            )
        )

    def get(caller: Caller, request: contract.GetPerson) -> contract.Person:
        person = use_cases.get_person(
            deps, request.personal_code, by=str(caller.client), purpose="asked by the holder through the portal"
        )
        return contract.Person(
            personal_code=person.personal_code,
            given_names=person.given_names,
            surname=person.surname,
            born_on=person.born_on,
            citizenships=person.citizenships,
            basis=person.basis,
        )

    return [
        Service(contract.REGISTER_PERSON, register),
        Service(contract.FIND_PERSONS, find),
        Service(contract.GET_PERSON, get),
    ]
