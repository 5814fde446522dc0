"""run.toml: every spec comes through whole, and every mistake is told at once, with its place and its remedy."""

from __future__ import annotations

import json
import tomllib
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spotrelay.core import spec
from spotrelay.core.errors import SpecError
from spotrelay.core.spec import FIELDS, MARKETS, SIGNALS, UNFINISHED, Instance, Interrupt, Limits, Run, Save, Spec

GOOD: dict[str, Any] = {"run": {"name": "r", "command": ["true"], "directory": "/job"}}

# What an argument or a name can be: any text but NUL, and bytes that are no UTF-8, as Python spells them.
TEXTS = st.text(
    st.characters(exclude_characters="\0", exclude_categories=["Cs"]) | st.sampled_from(["\udc80", "\udcff"])
)
WORDS = TEXTS.filter(bool)
PARTS = st.text(st.characters(exclude_characters="\0/", exclude_categories=["Cs"]), min_size=1).filter(
    lambda part: part not in (".", "..")
)
ENV_NAMES = st.from_regex("[A-Za-z_][A-Za-z0-9_]*", fullmatch=True).filter(lambda n: not n.startswith("SPOTRELAY_"))
SPECS = st.builds(
    Spec,
    st.builds(
        Run,
        name=st.from_regex("[a-z0-9]([a-z0-9-]{0,38}[a-z0-9])?", fullmatch=True),
        command=st.builds(lambda first, rest: (first, *rest), WORDS, st.lists(TEXTS, max_size=4)),
        directory=st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)),
        user=st.none() | st.from_regex(r"[a-z_][a-z0-9_-]{0,30}", fullmatch=True),
        env=st.dictionaries(ENV_NAMES, TEXTS, max_size=3),
        umask=st.from_regex("[0-7]{3,4}", fullmatch=True),
        exclude=st.lists(WORDS.filter(lambda text: text.strip("/")), max_size=3).map(tuple),
    ),
    st.builds(
        Interrupt,
        signal=st.sampled_from(SIGNALS),
        clean_exit_codes=st.lists(st.integers(0, 255), max_size=4).map(tuple),
        strict_exit=st.booleans(),
    ),
    st.builds(
        Save, every_s=st.floats(0, 86_400), memory_mib=st.integers(64, 65_536), unfinished=st.sampled_from(UNFINISHED)
    ),
    st.builds(
        Limits,
        attempts=st.integers(1, 99_999),
        error_retries=st.integers(0, 99_999),
        fruitless=st.integers(0, 99_999),
        hours=st.floats(0, 100_000),
        dollars=st.floats(0, 10_000_000),
    ),
    st.builds(
        lambda plan, **fields: Instance(**fields, **plan),
        types=st.lists(st.sampled_from(["g5.xlarge", "m5d.24xlarge", "u-6tb1.metal", "c5.metal-24xl"])).map(tuple),
        market=st.sampled_from(MARKETS),
        plan=st.fixed_dictionaries(
            {"on_demand": st.just("never") | st.from_regex(r"after [0-9]{1,6}[smh]", fullmatch=True)}
        )
        | st.fixed_dictionaries(
            {
                "on_demand": st.just("finish_by"),
                "finish_by": st.datetimes(timezones=st.just(UTC)).map(lambda moment: moment.isoformat()),
                "work_hours": st.floats(0, 100_000, exclude_min=True),
            }
        ),
        keep_alive=st.booleans(),
    ),
)
# Fields that mean something together only.
PLAN = {"on_demand": "finish_by", "finish_by": "2030-12-01T08:00:00Z", "work_hours": 6}
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.dates(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=10,
)


def problems(of: Callable[[], object]) -> tuple[str, ...]:
    with pytest.raises(SpecError) as raised:
        of()
    return raised.value.problems


def with_field(table: str, name: str, value: Any) -> dict[str, Any]:
    return {**GOOD, table: {**GOOD.get(table, {}), name: value}}


# --- what is right comes through


@given(SPECS)
def test_spec_comes_back_from_its_json(given_spec: Spec) -> None:
    """What run.json keeps is what the next instance runs. A field that changed on the way is another command."""
    assert given_spec == spec.from_json(given_spec.encode(), source="run.json")


@given(SPECS.filter(lambda each: each.encode().isascii() and b"\\udc" not in each.encode()))
def test_spec_comes_back_from_toml(given_spec: Spec) -> None:
    """A person writes the same in TOML."""
    lines = []
    for table, values in given_spec.document().items():
        if isinstance(values, dict):
            lines += [f"[{table}]", *(f"{name} = {toml(value)}" for name, value in values.items())]

    assert given_spec == spec.from_toml("\n".join(lines), source="run.toml")


def toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name} = {toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(toml, value)) + "]"
    if isinstance(value, str):  # TOML's basic strings are JSON's, but for \/ and DEL and pairs of surrogates
        return '"' + "".join(c if c.isalnum() else f"\\U{ord(c):08x}" for c in value) + '"'
    return json.dumps(value)


def test_least_spec_has_the_documented_defaults() -> None:
    parsed = spec.parse(GOOD, source="run.toml")

    assert Spec(Run("r", ("true",), "/job")) == parsed


@pytest.mark.parametrize(("table", "name"), [(table, name) for table in FIELDS for name in FIELDS[table]])
def test_remedy_that_an_error_offers_is_itself_right(table: str, name: str) -> None:
    """Whoever pastes it must not get the next error; it is the documentation as well."""
    example = tomllib.loads(FIELDS[table][name].example)

    assert [name] == list(example)
    fields = {**GOOD.get(table, {}), **(PLAN if name in ("finish_by", "work_hours") else {}), **example}
    spec.parse({**GOOD, table: fields}, source="run.toml")


@pytest.mark.parametrize(
    ("written", "meant"),
    [("/job/", "/job"), ("//job", "/job"), ("/./job/./", "/job"), ("/a b/ü", "/a b/ü"), ("/job\n", "/job\n")],
)
def test_directory_has_one_spelling(written: str, meant: str) -> None:
    assert meant == spec.parse(with_field("run", "directory", written), source="s").run.directory


@pytest.mark.parametrize(
    ("written", "after_s"),
    [("never", None), ("after 0s", 0), ("after 90s", 90), ("after 30m", 1800), ("after 2h", 7200), ("finish_by", None)],
)
def test_patience_for_spot_is_read_in_seconds(written: str, after_s: float | None) -> None:
    """A person writes 30m. Read as 30 seconds, it would cost an on-demand instance each time."""
    plan = PLAN if written == "finish_by" else {"on_demand": written}

    assert after_s == spec.parse({**GOOD, "instance": plan}, source="s").instance.on_demand_after_s


@pytest.mark.parametrize(
    "written",
    [
        'finish_by = "2030-12-01T08:00:00Z"',
        'finish_by = "2030-12-01 09:00:00+01:00"',
        'finish_by = "2030-11-30T22:00:00.000-10:00"',
        "finish_by = 2030-12-01T08:00:00Z",
        "finish_by = 2030-12-01 09:00:00+01:00",
    ],
)
def test_moment_is_the_same_however_it_is_written(written: str) -> None:
    """As TOML's own or as text, in any zone; run.json keeps it as text. An hour off is an hour too late."""
    head = '[run]\nname = "r"\ncommand = ["true"]\ndirectory = "/job"\n[instance]\non_demand = "finish_by"\n'
    parsed = spec.from_toml(f"{head}work_hours = 6\n{written}\n", source="run.toml")

    assert 1922342400.0 == parsed.instance.finish_at
    assert parsed == spec.from_json(parsed.encode(), source="run.json")


# --- what is wrong is told


def test_every_problem_is_told_at_once() -> None:
    """Each with its place and its remedy, so that one edit mends them all."""
    document = {
        "run": {"name": "Röhre", "command": [], "directory": "job", "umask": 22, "colour": "red"},
        "interrupt": {"signal": "KILL"},
        "limits": {"attempts": 0},
        "instance": 7,
        "weather": {},
        "version": 2,
    }

    expected = [
        "run.toml: [weather] is not known — use [run], [interrupt], [save], [limits], [instance]",
        "run.toml: version 2 is not known — this spotrelay reads 1",
        "run.toml: [run] colour is not known — use name, command, directory, user, env, umask, exclude, secrets",
        "run.toml: [run] name is not a name of a-z, 0-9 and -, at most 40: 'Röhre' — set name = \"resnet-7\"",
        'run.toml: [run] command is empty — set command = ["python", "train.py"]',
        "run.toml: [run] directory is not an absolute path: 'job' — set directory = \"/home/ubuntu/job\"",
        'run.toml: [run] umask is not a text: 22 — set umask = "022"',
        "run.toml: [interrupt] signal is none of TERM, INT, USR1, USR2, HUP, QUIT: 'KILL' — set signal = \"TERM\"",
        "run.toml: [limits] attempts is not between 1 and 99999: 0 — set attempts = 100",
        "run.toml: [instance] is not a table — write [instance] and its fields below",
    ]
    assert expected == list(problems(lambda: spec.parse(document, source="run.toml")))


@pytest.mark.parametrize("name", ["name", "command", "directory"])
def test_missing_field_is_told(name: str) -> None:
    document = {"run": {key: value for key, value in GOOD["run"].items() if key != name}}

    (problem,) = problems(lambda: spec.parse(document, source="run.toml"))

    assert f"run.toml: [run] {name} is missing — set {FIELDS['run'][name].example}" == problem


@pytest.mark.parametrize(
    ("table", "name", "values"),
    [
        ("run", "name", ["", "-a", "a-", "A", "a_b", "a" * 41, "a\n", "../a", 7, None, ["a"]]),
        ("run", "command", ["python train.py", [], [""], ["a", 7], ["a\0"], ["\ud800"], 7, None, {}]),
        ("run", "directory", ["", "job", "./job", "/", "//", "/.", "/a/../b", "/..", "/a\0", "~/job", 7, None]),
        ("run", "user", ["", "a b", "a:b", "/", 1000, None, "a\n"]),
        ("run", "env", [[], "A=1", {"A": 1}, {"A": None}, {"1A": ""}, {"A-B": ""}, {"": ""}, {"SPOTRELAY_RUN": ""}]),
        ("run", "umask", ["", "22", "0o22", "888", 18, 0o022, "00022"]),
        ("run", "exclude", ["*.tmp", [7], [""], ["/"], ["a\0"]]),
        (
            "run",
            "secrets",
            [[], {"A": 1}, {"A": "b"}, {"A": "ssm:b"}, {"A": "ssm:/"}, {"1A": "ssm:/b"}, {"": "ssm:/b"}],
        ),
        ("interrupt", "signal", ["KILL", "SIGTERM", "term", 15, True, []]),
        ("interrupt", "clean_exit_codes", [0, ["0"], [-1], [256], [True], [1.0], [float("nan")], "0"]),
        ("interrupt", "strict_exit", [0, 1, "true", None, []]),
        ("save", "every_s", [-1, 86_401, True, "300", float("nan"), float("inf"), None, 10**5000, -(10**400)]),
        ("save", "unfinished", ["", "delete", True, 1, None, ["keep"]]),
        ("save", "memory_mib", [0, 63, 65_537, 64.5, True, "512", None]),
        ("limits", "attempts", [0, -1, 100_000, 1.0, 1.5, True, "7", float("nan"), 10**5000]),
        ("limits", "error_retries", [-1, 100_000, 0.0, False]),
        ("limits", "fruitless", [-1, 100_000, 1.0, True, "5"]),
        ("limits", "hours", [-1, 100_001, float("nan"), float("inf"), False, "2h"]),
        ("limits", "dollars", [-1, 10_000_001, float("nan"), float("inf"), True, "40", "$40"]),
        ("instance", "types", ["g5.xlarge", ["g5"], ["G5.xlarge"], ["g5.xlarge "], [7], ["*.large"]]),
        ("instance", "market", ["Spot", "ondemand", "", True, ["spot"]]),
        (
            "instance",
            "on_demand",
            *[
                [
                    "",
                    "always",
                    "after",
                    "after 30",
                    "after 30 m",
                    "after -1s",
                    "after 1d",
                    "after 1e3s",
                    "30m",
                    0,
                    None,
                    [],
                ]
            ],
        ),
        (
            "instance",
            "finish_by",
            [
                *["", "tomorrow", "2030-12-01", "08:00:00Z", "2030-12-01T08:00:00", "2030-12-01T08:00Z", 1922342400],
                *["2030-13-01T08:00:00Z", "2030-02-30T08:00:00Z", "2030-12-01T08:00:60Z", "2030-12-01T08:00:00+99:00"],
                *[date(2030, 12, 1), datetime(2030, 12, 1, 8), None, [], "2030-12-01T08:00:00Z\n"],
            ],
        ),
        ("instance", "work_hours", [-1, 100_001, float("nan"), True, "6", "6h"]),
        ("instance", "keep_alive", [0, "yes", None]),
    ],
)
def test_wrong_value_is_told_with_its_place_and_remedy(table: str, name: str, values: list[Any]) -> None:
    """Not found out by an instance that is paid for. A true is no 1, and NaN no number."""
    for value in values:
        (problem,) = problems(lambda v=value: spec.parse(with_field(table, name, v), source="run.toml"))

        assert problem.startswith(f"run.toml: [{table}] {name} "), value
        assert problem.endswith(f" — set {FIELDS[table][name].example}"), value
        assert len(problem) < 300, value


@pytest.mark.parametrize(
    ("instance", "told"),
    [
        (
            {"on_demand": "finish_by"},
            [
                'finish_by is needed for on_demand = "finish_by" — set finish_by = "2030-12-01T08:00:00Z"',
                'work_hours is needed for on_demand = "finish_by" — set work_hours = 6',
            ],
        ),
        (
            {**PLAN, "work_hours": 0},
            ['work_hours is needed for on_demand = "finish_by" — set work_hours = 6'],
        ),
        (
            {**PLAN, "on_demand": "after 30m"},
            [
                'finish_by is heeded by no policy — set on_demand = "finish_by"',
                'work_hours is heeded by no policy — set on_demand = "finish_by"',
            ],
        ),
        ({"work_hours": 6}, ['work_hours is heeded by no policy — set on_demand = "finish_by"']),
    ],
)
def test_fields_that_need_each_other_are_told(instance: dict[str, Any], told: list[str]) -> None:
    """A deadline without the hours of work says nothing, and one that no policy heeds is missed in silence."""
    found = problems(lambda: spec.parse({**GOOD, "instance": instance}, source="run.toml"))

    assert [f"run.toml: [instance] {each}" for each in told] == list(found)


def test_every_field_has_wrong_values_above() -> None:
    """A field that is added is tested."""
    (mark,) = [m for m in test_wrong_value_is_told_with_its_place_and_remedy.pytestmark if m.name == "parametrize"]

    assert {(table, name) for table in FIELDS for name in FIELDS[table]} == {(row[0], row[1]) for row in mark.args[1]}


@pytest.mark.parametrize("version", [0, 2, True, 1.0, "1", None, [], float("nan")])
def test_version_of_another_is_refused(version: Any) -> None:
    """What a newer one wrote may mean something else by the same words."""
    (problem,) = problems(lambda: spec.parse({**GOOD, "version": version}, source="run.json"))

    assert problem.startswith("run.json: version ")


@pytest.mark.parametrize("document", [None, [], 7, "run", True])
def test_what_is_no_table_at_all(document: Any) -> None:
    assert ("run.toml: not a table — begin with [run]",) == problems(lambda: spec.parse(document, source="run.toml"))


@given(ANYTHING | st.dictionaries(st.sampled_from([*FIELDS, "version"]), ANYTHING))
def test_no_document_breaks_the_reader(document: Any) -> None:
    """It may come from a bucket that others write to (P7)."""
    try:
        spec.parse(document, source="s")
    except SpecError as error:
        told = error.problems
    else:
        return
    assert all(problem.startswith("s: ") for problem in told)


@given(st.data())
def test_no_value_breaks_any_field(data: st.DataObject) -> None:
    """What is accepted comes back from its JSON; everything else is told."""
    table = data.draw(st.sampled_from(sorted(FIELDS)))
    name = data.draw(st.sampled_from(sorted(FIELDS[table])))
    try:
        parsed = spec.parse(with_field(table, name, data.draw(ANYTHING)), source="s")
    except SpecError:
        return
    assert parsed == spec.from_json(parsed.encode(), source="s")


HUGE = [
    b"\xff\xfe garbage",
    b"\0",
    b"[" * 50_000,
    b"a = " + b"[" * 50_000,
    b"a = " + b"9" * 5000,
    b"a = 0x" + b"f" * 5000,
    b"[limits]\nattempts = 0x" + b"f" * 5000,
    b"[run]\nname = " + b"[" * 400 + b"]" * 400,
    b"a = 2026-99-99",
    b"[run\nname",
    b"a = 1\na = 2",
]


@pytest.mark.parametrize("data", HUGE, ids=range(len(HUGE)))
@pytest.mark.parametrize("read", [spec.from_toml, spec.from_json], ids=["toml", "json"])
def test_garbage_is_a_spec_error(read: Callable[..., Spec], data: bytes) -> None:
    """With its source, and short enough to read."""
    for problem in problems(lambda: read(data, source="run.x")):
        assert problem.startswith("run.x: ")
        assert len(problem) < 500


@pytest.mark.parametrize("depth", range(900, 1000))
def test_nested_as_deep_as_can_be_read(depth: int) -> None:
    """What Python can just read it may not be able to show, and an error is shown."""
    document = b'{"run": {"name": ' + b"[" * depth + b"]" * depth + b"}}"

    assert problems(lambda: spec.from_json(document, source="run.json"))


@given(st.binary() | st.text().map(str.encode))
def test_no_bytes_break_the_readers(data: bytes) -> None:
    for read in (spec.from_toml, spec.from_json):
        with pytest.raises(SpecError):
            read(data, source="s")
