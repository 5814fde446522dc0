"""The objects of a run: each reads back as it was written, and nothing else is taken for one."""

from __future__ import annotations

import json
import types
import typing
from dataclasses import MISSING, fields
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core import keys, records
from spotrelay.core.keys import SnapshotId
from spotrelay.core.records import RecordInvalid

CLASSES = [
    records.Assignment,
    records.Begun,
    records.Claim,
    records.Base,
    records.Status,
    records.Handover,
    records.Death,
    records.Outcome,
    records.Cancel,
    records.Ledger,
    records.Price,
    records.Seat,
    records.Fleet,
    records.Answer,
    records.Hunt,
    records.Told,
]
KEY = "runs/r/some.json"
NUMBERS = st.floats(-1e12, 1e12) | st.integers(-(10**12), 10**12)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
# What names another object has a form of its own.
NAMING: dict[tuple[type, str], st.SearchStrategy[Any]] = {
    (records.Assignment, "run"): st.from_regex(keys.RUN_NAME, fullmatch=True),
    (records.Assignment, "attempt"): st.integers(1, keys.LAST_ATTEMPT),
    (records.Cancel, "result"): st.sampled_from(["stopped", "limit"]),
    (records.Seat, "fleet"): st.from_regex(keys.FLEET_ID, fullmatch=True),
    (records.Fleet, "candidates"): st.lists(
        st.builds(
            keys.Member,
            st.from_regex(keys.RUN_NAME, fullmatch=True),
            st.integers(1, keys.LAST_ATTEMPT),
            st.integers(0, 10**9 - 1),
        ).map(str),
        max_size=3,
    ),
    (records.Base, "snapshot"): st.none()
    | st.builds(SnapshotId, st.integers(0, keys.LAST_ATTEMPT), st.integers(0, keys.LAST_SNAPSHOT)).map(str),
}


def values(hint: Any) -> st.SearchStrategy[Any]:
    if isinstance(hint, types.UnionType):
        return st.one_of(*map(values, typing.get_args(hint)))
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: st.text(),
        int: st.integers(-(10**12), 10**12),
        float: NUMBERS,
        bool: st.booleans(),
        types.NoneType: st.none(),
        list[str]: st.lists(st.text()),
        dict[str, float]: st.dictionaries(st.text(), NUMBERS),
        dict[str, Any]: st.dictionaries(st.text(), PLAIN),
    }
    return simple[hint]


def records_of(cls: type) -> st.SearchStrategy[Any]:
    hints = typing.get_type_hints(cls)
    return st.builds(cls, **{f.name: NAMING.get((cls, f.name), values(hints[f.name])) for f in fields(cls)})


@pytest.mark.parametrize("cls", CLASSES)
@given(data=st.data())
def test_record_reads_back(cls: type, data: st.DataObject) -> None:
    """What one side writes the other acts on."""
    record = data.draw(records_of(cls))

    assert record == records.decode(cls, records.encode(record), key=KEY)


def test_every_record_is_tested() -> None:
    """A class that is added is tested."""
    defined = [value for value in vars(records).values() if hasattr(value, "__dataclass_fields__")]

    assert defined == CLASSES


@pytest.mark.parametrize("cls", CLASSES)
@given(data=st.data())
def test_unknown_fields_are_ignored(cls: type, data: st.DataObject) -> None:
    """An older launcher reads what a newer agent wrote. Refused, an update of one would stop every run of the other."""
    record = data.draw(records_of(cls))
    document = {**json.loads(records.encode(record)), "of a later version": data.draw(PLAIN)}

    assert record == records.decode(cls, json.dumps(document).encode(), key=KEY)


def refused(cls: type, data: bytes) -> str:
    with pytest.raises(RecordInvalid) as raised:
        records.decode(cls, data, key=KEY)
    assert raised.value.what.startswith(KEY)
    assert raised.value.next_step
    return raised.value.what


EXAMPLES: dict[type, Any] = {
    records.Assignment: records.Assignment("r", 1),
    records.Begun: records.Begun("ada@laptop", "/home/ada/job", "0123abcd", 1.0),
    records.Claim: records.Claim("i-1", "t", 1.0),
    records.Base: records.Base("1-2", 1.0, "i-1"),
    records.Status: records.Status("i-1", "running", 1.0),
    records.Handover: records.Handover("i-1", "interrupted", 1.0, "exit code 0", 0, True, 0, None),
    records.Death: records.Death("i-1", 1.0),
    records.Outcome: records.Outcome("succeeded", 1, 1.0),
    records.Cancel: records.Cancel("limit", "limits.hours = 2 is reached", 1.0),
    records.Ledger: records.Ledger(),
    records.Price: records.Price(0.096, 1.0),
    records.Seat: records.Seat("f-0123456789abcdef0123", 1.0, 1.0),
    records.Fleet: records.Fleet("t", 1.0, {}, ["r/1/0"]),
    records.Answer: records.Answer("launched", 1.0),
    records.Hunt: records.Hunt(1, 0, 1.0, 1.0, "no capacity"),
    records.Told: records.Told(1.0, 1.0, "token"),
}
FIELDS = [(cls, f.name, f.default is MISSING and f.default_factory is MISSING) for cls in CLASSES for f in fields(cls)]


@pytest.mark.parametrize(("cls", "name", "required"), FIELDS)
def test_missing_field(cls: type, name: str, required: bool) -> None:
    """Only what has a default may be absent; the error says where and what."""
    document = json.loads(records.encode(EXAMPLES[cls]))
    del document[name]
    data = json.dumps(document).encode()

    if required:
        assert name in refused(cls, data)
    else:
        records.decode(cls, data, key=KEY)


@pytest.mark.parametrize(("cls", "name", "required"), FIELDS)
def test_field_of_another_type(cls: type, name: str, required: bool) -> None:
    """A text where a time must be would break far from here, while something is being saved."""
    hint = typing.get_type_hints(cls)[name]
    options = typing.get_args(hint) if isinstance(hint, types.UnionType) else (hint,)
    right = {float: (int, float), int: (int,), str: (str,), bool: (bool,), types.NoneType: (types.NoneType,)}
    accepted = {kind for option in options for kind in right.get(option, (typing.get_origin(option),))}
    wrong = [v for v in (None, True, 7, 0.5, "text", [7], {"a": []}) if type(v) not in accepted]
    wrong += [[7]] if hint == list[str] else [{"a": "b"}] if hint == dict[str, float] else []
    wrong += [float("nan"), float("inf"), 10**400] if float in options else []
    for value in wrong:
        document = {**json.loads(records.encode(EXAMPLES[cls])), name: value}
        text = refused(cls, json.dumps(document).encode())

        assert f"{KEY}: {name} is " in text


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"\xff\xfe\xff", b"nonsense", b"[]", b"null", b"7", b"{", b"[" * 50_000, b"9" * 5000],
    ids=range(10),
)
@pytest.mark.parametrize("cls", CLASSES)
def test_garbage_is_no_record(cls: type, data: bytes) -> None:
    refused(cls, data)


@given(st.sampled_from(CLASSES), st.binary() | PLAIN.map(lambda document: json.dumps(document).encode()))
def test_no_bytes_break_the_reader(cls: type, data: bytes) -> None:
    """The bucket may hold anything (P7, P6)."""
    try:
        records.decode(cls, data, key=KEY)
    except RecordInvalid as error:
        told = error.what
    else:
        return
    assert told.startswith(KEY)


@pytest.mark.parametrize(
    ("run", "attempt"), [("../..", 1), ("", 1), ("A", 1), ("r\n", 1), ("r", 0), ("r", -1), ("r", 100_000)]
)
def test_assignment_names_a_run_and_an_attempt(run: str, attempt: int) -> None:
    """They become keys in the bucket and a path on the instance (P7)."""
    refused(records.Assignment, json.dumps({"run": run, "attempt": attempt}).encode())


@pytest.mark.parametrize("snapshot", ["", "1", "../1-1", "1-1\n", "a-b"])
def test_base_names_a_snapshot(snapshot: str) -> None:
    refused(records.Base, json.dumps({"snapshot": snapshot, "at": 1.0, "instance": "i"}).encode())


@pytest.mark.parametrize(
    "data",
    [b"", b"\0", b"please stop", b"[]", b"{}", b'{"result": "succeeded"}', b'{"result": 7}', b"[" * 50_000],
    ids=range(8),
)
def test_cancel_of_any_words_is_a_person_s(data: bytes) -> None:
    """`aws s3 cp` of a note stops the run as well. Refused, the run would go on against its owner's word."""
    assert records.Cancel() == records.Cancel.read(data)


def test_cancel_says_which_limit_it_was() -> None:
    cancel = records.Cancel("limit", "limits.dollars = 40 is reached: 41.20 spent", 7.0)

    assert cancel == records.Cancel.read(records.encode(cancel))
