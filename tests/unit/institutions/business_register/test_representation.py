"""Who may act for a company: the table of cases, decided without a database."""

from datetime import date
from typing import Any

import pytest

from digiid.institutions.business_register.domain import (
    Company,
    CompanyStatus,
    Role,
    RoleKind,
    decide_representation,
)

ME, YOU, THIRD = "60001019906", "38001085718", "47101010033"
DAY = date(2026, 11, 23)
BOARD, PROCURIST, SHARE = RoleKind.BOARD_MEMBER, RoleKind.PROCURIST, RoleKind.SHAREHOLDER
LIQUIDATOR, TRUSTEE = RoleKind.LIQUIDATOR, RoleKind.TRUSTEE
R, L, N, K = CompanyStatus.ENTERED, CompanyStatus.LIQUIDATION, CompanyStatus.BANKRUPT, CompanyStatus.DELETED


def company(status: CompanyStatus) -> Company:
    return Company("19999005", "TEST OÜ", "OÜ", status, "Testi 1", 250_000, date(2020, 1, 1))


def role(
    who: str, kind: RoleKind, how: Any = "sole", begins: date = date(2020, 1, 1), ends: date | None = None
) -> Role:
    share = 100 if kind is SHARE else None
    return Role(f"{who}-{kind}-{begins}", "19999005", kind, who, who, begins, ends, None if share else how, share)


@pytest.mark.parametrize(
    ("status", "roles", "kind", "reason"),
    [
        # nobody, and those who never represent
        (R, [], "none", "no_role"),
        (R, [role(YOU, BOARD)], "none", "no_role"),
        (R, [role(ME, SHARE)], "none", "does_not_represent"),
        # alone
        (R, [role(ME, BOARD)], "sole", "board_member"),
        (R, [role(ME, PROCURIST)], "sole", "procurist"),
        (R, [role(ME, BOARD), role(YOU, BOARD, "joint")], "sole", "board_member"),
        # together
        (R, [role(ME, BOARD, "joint"), role(YOU, BOARD, "joint")], "joint", "board_member"),
        (R, [role(ME, BOARD, "joint"), role(YOU, BOARD)], "joint", "board_member"),
        (R, [role(ME, PROCURIST, "joint"), role(YOU, PROCURIST, "joint")], "joint", "procurist"),
        (R, [role(ME, BOARD, "joint")], "none", "nobody_to_join"),
        (R, [role(ME, BOARD, "joint"), role(YOU, PROCURIST)], "none", "nobody_to_join"),
        (R, [role(ME, BOARD, "joint"), role(YOU, BOARD, ends=DAY)], "none", "nobody_to_join"),
        # the strongest of several roles
        (R, [role(ME, BOARD, "joint"), role(YOU, BOARD), role(ME, PROCURIST)], "sole", "procurist"),
        (R, [role(ME, SHARE), role(ME, BOARD)], "sole", "board_member"),
        # from the first day to the one before the last
        (R, [role(ME, BOARD, begins=DAY)], "sole", "board_member"),
        (R, [role(ME, BOARD, begins=date(2026, 11, 24))], "none", "no_role"),
        (R, [role(ME, BOARD, ends=date(2026, 11, 24))], "sole", "board_member"),
        (R, [role(ME, BOARD, ends=DAY)], "none", "ended"),
        (R, [role(ME, BOARD, ends=date(2021, 1, 1)), role(ME, SHARE)], "none", "does_not_represent"),
        # the status says whose roles count
        (L, [role(ME, BOARD)], "none", "not_in_this_status"),
        (L, [role(ME, PROCURIST)], "none", "not_in_this_status"),
        (L, [role(ME, LIQUIDATOR)], "sole", "liquidator"),
        (L, [role(ME, LIQUIDATOR, "joint"), role(YOU, LIQUIDATOR)], "joint", "liquidator"),
        (R, [role(ME, LIQUIDATOR)], "none", "not_in_this_status"),
        (N, [role(ME, BOARD), role(ME, LIQUIDATOR)], "none", "not_in_this_status"),
        (N, [role(ME, TRUSTEE)], "sole", "bankruptcy_trustee"),
        (R, [role(ME, TRUSTEE)], "none", "not_in_this_status"),
        (K, [role(ME, BOARD)], "none", "company_deleted"),
        (K, [role(ME, TRUSTEE)], "none", "company_deleted"),
    ],
)
def test_who_represents(status: CompanyStatus, roles: list[Role], kind: str, reason: str) -> None:
    decided = decide_representation(company(status), roles, personal_code=ME, day=DAY)
    assert (decided.kind, decided.reason) == (kind, reason)
    assert bool(decided.together_with) == (kind == "joint")


def test_a_joint_right_names_those_who_may_join() -> None:
    roles = [role(ME, BOARD, "joint"), role(YOU, BOARD), role(THIRD, BOARD, "joint"), role(THIRD, PROCURIST)]
    decided = decide_representation(company(R), roles, personal_code=ME, day=DAY)
    assert {(other.personal_code, other.kind) for other in decided.together_with} == {(YOU, BOARD), (THIRD, BOARD)}
