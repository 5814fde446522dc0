"""The house keeps its shape: every import points down, and whoever points up is told why not.

    cli | daemon  →  relay  →  abilities (snapshot, watch, child, …)  →  ports  →  core
          person: what a laptop reads of a run and asks for, below cli; ui: the same as a page
          aws fulfils ports; launcher stands on core alone; local knows core alone and is reached over the wire

Read from the source, not from what is loaded: an import inside of a function counts like one at the top.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "agent"
README = ROOT / "README.md"

# Each part, and the parts it may import besides itself. A module at the top that is not named here is an ability.
MAY_IMPORT = {
    "spotrelay": set[str](),
    "core": set[str](),
    "ports": {"core"},
    "ability": {"core", "ports"},
    "relay": {"core", "ports", "ability"},
    "aws": {"core", "ports"},
    "launcher": {"core"},
    "local": {"core"},
    # spotrelay.bundle says what goes into the launcher's zip; `ability` is where the house files it.
    "stack": {"core", "ability"},
    # What AWS means by a refusal, and what CloudFormation calls a stack, is the same whoever asks.
    "doctor": {"core", "stack"},
    "person": {"core", "ports", "ability"},
    "ui": {"core", "ports", "ability", "person"},
    "daemon": {"core", "ports", "ability", "relay", "aws"},
    "cli": {"core", "ports", "ability", "relay", "aws", "daemon", "local", "stack", "doctor", "person", "ui"},
}
WHY_NOT_FROM = {
    "spotrelay": "whoever imports one module, the Lambda above all, must not pay for the others",
    "core": "what is true stands alone: no I/O, no clock, and the launcher carries it without a wheel",
    "ports": "a port says what is meant; what it is made of is the adapters' business",
    "launcher": "its zip is a copy of core and launcher: anything else is missing in the Lambda",
    "local": "the local cloud knows what AWS knows; with our own code in it, a rehearsal would confirm our mistakes",
    "doctor": "it looks at what is there, as AWS tells it: a person runs it where nothing else works",
    "stack": "the stack is what a person makes once; what runs in it later, or before, is nothing that it may need",
    "aws": "an adapter fulfils the ports and decides nothing: what it imports of the agent, it could decide by",
}
WHY_NOT_INTO = {
    "aws": "which cloud it is, entry points choose alone; so tests and rehearsals can choose another",
    "local": "the local cloud is reached over the wire, so that every rehearsal runs the real adapters",
    "launcher": "the launcher runs elsewhere, without our wheels: the queue and the store are the way to it",
    "doctor": "an examination is for a person: what runs by itself finds out by doing",
    "person": "what a person reads and asks for is no part of what runs by itself",
    "ui": "the page is one of several ways to look: nothing else may need it",
    "stack": "only a person makes and removes a stack: nothing that runs by itself has those permissions",
    "relay": "the relay uses the abilities; an ability that knew the relay could not be tested without it",
    "cli": "nothing stands on the command line: it is one of several ways in",
    "daemon": "nothing stands on the service: it is one of several ways in",
}
# What does I/O, reads a clock or rolls dice. (`signal` is not here: it is where the numbers of signals have names.)
_TOUCHING = "asyncio os pathlib random secrets select shutil socket subprocess tempfile threading time urllib"
NOT_IN_CORE = set(_TOUCHING.split())
THIRD_PARTY = {"core": set[str](), "launcher": {"boto3", "botocore"}}
SAYS_NOTHING = re.compile(r"utils?|managers?|helpers?|misc|common|base\d*")


@dataclass(frozen=True)
class Import:
    module: str
    line: int
    target: str
    for_types_only: bool

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.target}"


def modules() -> dict[str, Path]:
    def name(path: Path) -> str:
        return ".".join(path.relative_to(SOURCE).with_suffix("").parts).removesuffix(".__init__")

    return {name(path): path for path in sorted((SOURCE / "spotrelay").rglob("*.py"))}


MODULES = modules()
TREES = {module: ast.parse(path.read_text()) for module, path in MODULES.items()}


def part_of(module: str) -> str:
    words = module.split(".")
    if len(words) == 1:
        return words[0]
    return words[1] if words[1] in MAY_IMPORT else "ability"


def imports(module: str) -> Iterator[Import]:
    tree = TREES[module]
    types_only = {
        id(below)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for child in node.body
        for below in ast.walk(child)
    }
    for node in ast.walk(tree):
        for target in targets(node, module):
            yield Import(module, node.lineno, target, id(node) in types_only)  # type: ignore[attr-defined]


def targets(node: ast.AST, module: str) -> list[str]:
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if not isinstance(node, ast.ImportFrom):
        return []
    base = node.module or ""
    if node.level:
        is_package = MODULES[module].name == "__init__.py"
        above = module.split(".")[: None if is_package and node.level == 1 else -(node.level - is_package)]
        base = ".".join([*above, *filter(None, [base])])
    # `from spotrelay.core import keys` imports a module, `from spotrelay.core.keys import run` a name of one.
    return [f"{base}.{alias.name}" if f"{base}.{alias.name}" in MODULES else base for alias in node.names]


def is_ours(imported: Import) -> bool:
    return imported.target.split(".")[0] == "spotrelay"


ALL = [imported for module in MODULES for imported in imports(module)]


def why_not(module: str, target: str) -> str | None:
    """The reason why `module` must not import `target`; None when it may."""
    source, aim = part_of(module), part_of(target)
    if aim in {source, "spotrelay"} | MAY_IMPORT[source]:
        return None
    return WHY_NOT_FROM.get(source) or WHY_NOT_INTO.get(aim) or f"{aim} stands above {source}"


def test_imports_point_down() -> None:
    """Every import points down. Otherwise the launcher's zip lacks a module, or a rehearsal lies."""
    up = [f"{i}: {why}" for i in filter(is_ours, ALL) if (why := why_not(i.module, i.target))]

    assert [] == up


@pytest.mark.parametrize(
    ("module", "target", "reason"),
    [
        ("spotrelay.core.keys", "spotrelay.ports", WHY_NOT_FROM["core"]),
        ("spotrelay.launcher.handler", "spotrelay.aws.queue", WHY_NOT_FROM["launcher"]),
        ("spotrelay.local.sqs", "spotrelay.watch", WHY_NOT_FROM["local"]),
        ("spotrelay.relay", "spotrelay.aws.store", WHY_NOT_INTO["aws"]),
        ("spotrelay.watch", "spotrelay.relay", WHY_NOT_INTO["relay"]),
        ("spotrelay.daemon", "spotrelay.local.cloud", WHY_NOT_INTO["local"]),
        ("spotrelay.cli.rehearse", "spotrelay.local.cloud", None),
        ("spotrelay.watch", "spotrelay.core.events", None),
    ],
)
def test_an_import_that_points_up_is_told_why(module: str, target: str, reason: str | None) -> None:
    """The rule knows each border and its reason. Otherwise the next person moves the rule instead of the import."""
    assert reason == why_not(module, target)


def test_imports_do_not_go_in_circles() -> None:
    """No module needs itself by a detour. Otherwise which of two is understood first depends on who imports them."""
    graph = {module: {i.target for i in ALL if i.module == module and is_ours(i)} - {module} for module in MODULES}
    circle = None
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        circle = " → ".join(error.args[1])

    assert circle is None


@pytest.mark.parametrize("part", THIRD_PARTY)
def test_what_the_lambda_carries_needs_no_wheel(part: str) -> None:
    """core and launcher import the standard library, and the launcher boto3. Otherwise the Lambda dies on its first
    message: its zip is a copy of these two folders.
    """
    foreign = [
        str(imported)
        for imported in ALL
        if part_of(imported.module) == part and not is_ours(imported) and not imported.for_types_only
        if imported.target.split(".")[0] not in sys.stdlib_module_names | THIRD_PARTY[part]
    ]

    assert [] == foreign


def test_the_core_touches_nothing() -> None:
    """core imports nothing that does I/O or reads a clock. Otherwise two minutes of drama take two minutes to test."""
    touching = [
        str(imported)
        for imported in ALL
        if part_of(imported.module) == "core" and imported.target.split(".")[0] in NOT_IN_CORE
    ]

    assert [] == touching


def test_the_package_itself_imports_nothing() -> None:
    """`import spotrelay` loads nothing. Otherwise `import spotrelay.core.keys` in the Lambda loads all of it."""
    assert [] == [str(imported) for imported in ALL if imported.module == "spotrelay"]


def test_every_module_says_what_it_is_for() -> None:
    """Every module begins with its purpose. Otherwise a reader has to guess it from what the module happens to do."""
    assert [] == [module for module, tree in TREES.items() if not ast.get_docstring(tree)]


def test_names_say_something() -> None:
    """No module is called utils, manager or helper. Otherwise it becomes the drawer for whatever found no name."""
    files = [path for folder in ("agent", "tests", "scripts") for path in (ROOT / folder).rglob("*.py")]

    assert [] == [path.name for path in files if SAYS_NOTHING.fullmatch(path.stem)]


def test_only_the_command_line_prints() -> None:
    """print() stands in cli/ alone. Otherwise a line without context lands in the user's own output, or in none."""
    printing = [
        f"{module}:{node.lineno}"
        for module, tree in TREES.items()
        if part_of(module) != "cli"
        for node in ast.walk(tree)
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("print", "pprint")
    ]

    assert [] == printing


def exit_codes() -> dict[str, int]:
    """Every class with an exit code of its own, and what cli/verdict.py names by `exit_code=`."""
    found = {}
    for module, tree in TREES.items():
        for node in ast.walk(tree):
            match node:
                case ast.ClassDef():
                    found |= {f"{module}.{node.name}": code for s in node.body if (code := class_exit_code(s))}
                case ast.keyword(arg="exit_code", value=ast.Constant(value=int(code))) if module.endswith(
                    "cli.verdict"
                ):
                    found[f"{module}:{node.value.lineno}"] = code
    return found


def class_exit_code(statement: ast.stmt) -> int | None:
    match statement:
        case ast.Assign(targets=[ast.Name(id="exit_code")], value=ast.Constant(value=int(code))):
            return code
        case ast.AnnAssign(target=ast.Name(id="exit_code"), value=ast.Constant(value=int(code))):
            return code
    return None


def test_exit_codes_are_unique() -> None:
    """No two ends share an exit code. Otherwise a script that calls us acts on the wrong one."""
    codes = exit_codes()
    by_code: dict[int, list[str]] = {}
    for owner, code in codes.items():
        by_code.setdefault(code, []).append(owner)

    assert len(codes) >= 20, "the reading found almost none: it is broken"
    assert {} == {code: owners for code, owners in by_code.items() if len(owners) > 1}


@pytest.mark.skipif(not README.exists(), reason="there is no README yet")
def test_exit_codes_stand_in_the_readme() -> None:
    """Every exit code has its row in the README. Otherwise a number is all that a person has."""
    listed = {int(code) for code in re.findall(r"(?m)^\|\s*`?(\d{1,3})`?\s*\|", README.read_text())}

    assert [] == sorted(set(exit_codes().values()) - listed)
