"""What the register offers on the exchange: decode, call the use case, encode what is on record."""

from digiid.contracts import business_register as contract
from digiid.exchange.gate import Caller, Service
from digiid.exchange.looks import look_of
from digiid.institutions.business_register import use_cases
from digiid.institutions.business_register.domain import Company, Role
from digiid.institutions.business_register.use_cases import Deps


def services(deps: Deps) -> list[Service]:
    def find(_caller: Caller, request: contract.FindCompanies) -> contract.CompaniesFound:
        found = use_cases.find_companies(deps, request.text)
        return contract.CompaniesFound(companies=tuple(_summary(company) for company in found))

    def get(caller: Caller, request: contract.GetCompany) -> contract.Company:
        look = look_of(caller, contract.GET_COMPANY)
        disclosed = use_cases.get_company(
            deps, request.registry_code, look=look, categories=contract.GET_COMPANY.discloses
        )
        company = disclosed.value.company
        return contract.Company(
            registry_code=company.registry_code,
            name=company.name,
            legal_form=company.legal_form,
            status=company.status.value,
            address=company.address,
            share_capital_cents=company.share_capital_cents,
            registered_on=company.registered_on,
            deleted_on=company.deleted_on,
            roles=tuple(_role(role) for role in disclosed.value.roles),
        )

    def roles(caller: Caller, request: contract.RolesOfPerson) -> contract.PersonRoles:
        look = look_of(caller, contract.ROLES_OF_PERSON)
        disclosed = use_cases.roles_of_person(
            deps, request.personal_code, look=look, categories=contract.ROLES_OF_PERSON.discloses
        )
        return contract.PersonRoles(
            roles=tuple(
                contract.RoleInCompany(
                    company=_summary(own.company),
                    kind=own.role.kind.value,
                    from_on=own.role.from_on,
                    representation=own.representation.kind,
                )
                for own in disclosed.value
            )
        )

    def represents(caller: Caller, request: contract.RightOfRepresentation) -> contract.Representation:
        look = look_of(caller, contract.RIGHT_OF_REPRESENTATION)
        disclosed = use_cases.right_of_representation(
            deps,
            personal_code=request.personal_code,
            registry_code=request.registry_code,
            look=look,
            categories=contract.RIGHT_OF_REPRESENTATION.discloses,
        )
        company, right = disclosed.value
        return contract.Representation(representation=right.kind, reason=right.reason, company_name=company.name)

    return [
        Service(contract.FIND_COMPANIES, find),
        Service(contract.GET_COMPANY, get),
        Service(contract.ROLES_OF_PERSON, roles),
        Service(contract.RIGHT_OF_REPRESENTATION, represents),
    ]


def _summary(company: Company) -> contract.CompanySummary:
    return contract.CompanySummary(registry_code=company.registry_code, name=company.name, status=company.status.value)


def _role(role: Role) -> contract.Role:
    return contract.Role(
        kind=role.kind.value,
        personal_code=role.personal_code,
        name=role.name,
        from_on=role.from_on,
        until_on=role.until_on,
        representation=role.representation,
        share_cents=role.share_cents,
    )
