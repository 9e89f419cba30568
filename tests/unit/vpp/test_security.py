from datetime import UTC, datetime

import pytest

from models.errors import AccessError, InputError
from models.roles import Role
from vpp.security import FailureLimiter, new_token, owns, require, token_id_of

NOON = datetime(2025, 7, 16, 4, tzinfo=UTC)


def test_no_two_tokens_are_alike_and_each_opens_its_own_door() -> None:
    tokens = [new_token("wang", Role.OPERATOR, NOON) for _ in range(50)]
    assert len({made.token for made in tokens}) == len({made.user.token_id for made in tokens}) == 50
    for made in tokens:
        assert owns(made.user, made.token)
        assert token_id_of(made.token) == made.user.token_id
        assert made.token.split("_", 2)[2] not in repr(made)
    assert not owns(tokens[0].user, tokens[1].token)


@pytest.mark.parametrize("token", ["", "vpp_", "Bearer x", "vpp_zz_" + "A" * 43, "vpp_0123456789abcdef_" + "é" * 43])
def test_what_is_no_token_opens_nothing(token: str) -> None:
    assert token_id_of(token) is None
    assert not owns(new_token("wang", Role.OPERATOR, NOON).user, token)


def test_an_aggregators_token_says_whose_it_is() -> None:
    for role, owner in ((Role.AGGREGATOR, None), (Role.OPERATOR, "sun")):
        with pytest.raises(InputError, match="vpp aggregator add"):
            new_token("wang", role, NOON, owner)


def test_an_admin_may_do_everything_but_be_an_aggregator() -> None:
    admin = new_token("root", Role.ADMIN, NOON).user
    auditor = new_token("li", Role.AUDITOR, NOON).user
    require(admin, Role.OPERATOR)
    require(auditor, Role.OPERATOR, Role.AUDITOR)
    with pytest.raises(AccessError, match="this needs approver or operator"):
        require(auditor, Role.OPERATOR, Role.APPROVER)
    with pytest.raises(AccessError):
        require(admin, Role.AGGREGATOR)


def test_failures_are_counted_by_minute_and_address_in_bounded_memory() -> None:
    limiter = FailureLimiter(per_minute=3, addresses=100)
    for second in (0, 10, 20):
        assert limiter.wait_s("a", second) == 0
        limiter.note("a", second)
    assert limiter.wait_s("a", 30) == 30
    assert limiter.wait_s("b", 30) == 0
    assert limiter.wait_s("a", 60.1) == 0
    for number in range(1000):
        limiter.note(f"x{number}", 61)
    assert len(limiter._failures) <= 100
