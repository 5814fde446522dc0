"""What the rows of the table of refusals promise, and the spellings that find them."""

from __future__ import annotations

import pytest

from spotrelay.launcher.refusals import Action, Class, refusal
from support.ec2_codes import ROWS

USUAL = {
    Class.CAPACITY: Action.ELSEWHERE,
    Class.PRICE: Action.ELSEWHERE,
    Class.UNSUPPORTED: Action.ELSEWHERE,
    Class.QUOTA: Action.LATER,
    Class.THROTTLED: Action.PACE,
    Class.TOKEN: Action.BURNT,
    Class.SERVER: Action.UNANSWERED,
    Class.STATE: Action.LATER,
    Class.ABSENT: Action.LATER,
    Class.MISSING: Action.PERSON,
    Class.PERMISSION: Action.PERSON,
    Class.MALFORMED: Action.PERSON,
}
UNUSUAL = {
    # What another zone has no more of, or what only its hour brings.
    "InsufficientAddressCapacity": Action.LATER,
    "InvalidCapacityReservationState.PendingActivation": Action.LATER,
    # The one quota that the other market does not share.
    "MaxSpotInstanceCountExceeded": Action.ON_DEMAND,
    # Limits of one launch, which no waiting lifts.
    "SecurityGroupLimitExceeded": Action.PERSON,
    "SecurityGroupsPerInstanceLimitExceeded": Action.PERSON,
    "SecurityGroupsPerInterfaceLimitExceeded": Action.PERSON,
    "TagLimitExceeded": Action.PERSON,
    "VolumeIOPSLimit": Action.PERSON,
    # A token that is in use, and one that was never valid.
    "PriorRequestNotComplete": Action.UNANSWERED,
    "InvalidClientToken": Action.PERSON,
    # What AWS or Lambda mends without anybody's doing.
    "PendingVerification": Action.LATER,
    "ExpiredToken": Action.LATER,
    "ExpiredTokenException": Action.LATER,
    "InvalidSecurity.RequestHasExpired": Action.LATER,
    "RequestExpired": Action.LATER,
}


def test_each_class_has_its_action() -> None:
    """And each exception its reason. One slip among two hundred rows would wait where a person is needed."""
    unusual = {code: row.action for code, row in ROWS.items() if row.action is not USUAL[row.class_]}

    assert UNUSUAL == unusual


@pytest.mark.parametrize("code", [code for code, row in ROWS.items() if row.action is Action.PERSON])
def test_a_person_is_told_what_to_do(code: str) -> None:
    """A run that waits for somebody says for what. Otherwise it waits for the one who reads our code."""
    row = ROWS[code]

    assert row.why
    assert row.next_step
    assert f"{code}: {row.why} — {row.next_step}" == str(row)


def test_only_what_cannot_be_launched_drops_its_pool() -> None:
    """A pool that is full will have room again. Dropped, it would be missing when it has."""
    dropping = [row for row in ROWS.values() if row.drops_pool]

    assert {(Class.UNSUPPORTED, Action.ELSEWHERE)} == {(row.class_, row.action) for row in dropping}


def test_what_may_have_launched_is_not_a_capacity_or_permission_matter() -> None:
    """UNANSWERED is for EC2's failures and a token in use: every other code says that nothing was launched."""
    assert {Class.SERVER, Class.TOKEN} == {row.class_ for row in ROWS.values() if row.action is Action.UNANSWERED}


@pytest.mark.parametrize(
    ("spelling", "code"),
    [
        ("Server.InsufficientInstanceCapacity", "InsufficientInstanceCapacity"),
        ("Client.VolumeLimitExceeded", "VolumeLimitExceeded"),
        ("Client.UnauthorizedOperation", "UnauthorizedOperation"),
        ("Server.InternalError", "InternalError"),
        ("Client.InternalError", "Client.InternalError"),
        ("InvalidSubnetId.NotFound", "InvalidSubnetID.NotFound"),
        ("Client.InvalidSubnetId.NotFound", "InvalidSubnetID.NotFound"),
        ("ClientInvalidParameterValue", "ClientInvalidParameterValue"),
    ],
)
def test_spellings_of_one_code(spelling: str, code: str) -> None:
    """EC2 writes ids both ways and state reasons with a side before them; and once the side makes the difference."""
    assert code == refusal(spelling).code


def test_a_word_we_do_not_know_is_kept_and_waits() -> None:
    """It is what a person will search for."""
    found = refusal("Client.NeverHeardOf")

    assert ("Client.NeverHeardOf", Action.LATER) == (found.code, found.action)
