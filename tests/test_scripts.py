"""The scripts: set-up that is whole or done again, locks and README blocks that notice when they are stale, and CI.

Set-up runs for real, in a copy of the checkout whose lock is empty, so that no network is needed: a virtual
environment, this package's build, the stamp and the lock are what can go wrong in it, not pip's downloads.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = ROOT / "scripts"
NOBODY = 65_534
BUILT = "set up: virtual environment"


def step(name: str) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"steps_{name}", SCRIPTS / "steps" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Checkout:
    """A checkout small enough to set up in seconds, in a folder that anybody may read, with a space in its name."""

    def __init__(self, folder: Path) -> None:
        self.root = folder / "a checkout"
        self.home = folder / "home"
        self.libraries = folder / "libraries"
        package = self.root / "agent" / "spotrelay"
        package.mkdir(parents=True)
        package.joinpath("__init__.py").write_text('"""A stand-in."""\n')
        shutil.copy(ROOT / "pyproject.toml", self.root)
        shutil.copy(ROOT / "LICENSE", self.root)
        self.root.joinpath("README.md").write_text("A stand-in.\n")
        shutil.copytree(SCRIPTS, self.root / "scripts", ignore=shutil.ignore_patterns("examples", "__pycache__"))
        self.root.joinpath("scripts", "dev.lock").write_text("")
        self.home.mkdir()
        self._lend_the_build_backend()

    def _lend_the_build_backend(self) -> None:
        """The real lock brings setuptools along; here it is lent from the environment that runs the tests."""
        setuptools = importlib.metadata.distribution("setuptools")
        for name in {file.parts[0] for file in setuptools.files or ()} - {".."}:
            folder = Path(str(setuptools.locate_file(name)))
            if folder.is_dir():
                shutil.copytree(folder, self.libraries / name)

    @property
    def venv(self) -> Path:
        return self.root / ".venv"

    def begin(self, *, python_path: Path | None = None, user: int | None = None) -> subprocess.Popen[str]:
        return self.begin_script("setup", python_path=python_path, user=user)

    def begin_script(
        self, script: str, *arguments: str, python_path: Path | None = None, user: int | None = None
    ) -> subprocess.Popen[str]:
        environment = {
            "PATH": "/usr/local/bin:/usr/bin:/bin" if user else os.environ["PATH"],
            "HOME": str(self.home),
            "PYTHONPATH": os.pathsep.join(str(p) for p in (self.libraries, python_path) if p),
        }
        return subprocess.Popen(
            [str(self.root / "scripts" / script), *arguments],
            cwd="/",
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )

    def set_up(self, *, python_path: Path | None = None, user: int | None = None) -> tuple[int, str]:
        """The exit code of scripts/setup, and what it said."""
        return end(self.begin(python_path=python_path, user=user))


def end(process: subprocess.Popen[str]) -> tuple[int, str]:
    _, said = process.communicate(timeout=120)
    return process.returncode, said


def until(holds: Callable[[], bool], *, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it did not come to hold in time"
        time.sleep(0.01)


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    # Not tmp_path: that is closed to other users.
    with tempfile.TemporaryDirectory(prefix="spotrelay-scripts-") as folder:
        Path(folder).chmod(0o755)
        yield Checkout(Path(folder))


def works(venv: Path) -> bool:
    return (
        subprocess.run([str(venv / "bin" / "python"), "-c", "import spotrelay"], check=False, cwd="/").returncode == 0
    )


@pytest.mark.slow
def test_setting_up_is_done_once_and_again_when_the_lock_changes(checkout: Checkout) -> None:
    """A second set-up finds the first one whole and does nothing; another lock makes it anew. Otherwise each test run
    pays half a minute, or runs with libraries that the lock no longer names.
    """
    first, second = checkout.set_up(), checkout.set_up()
    (checkout.root / "scripts" / "dev.lock").write_text("# another\n")
    third = checkout.set_up()

    assert ([0, 0, 0], [True, False, True]) == (
        [status for status, _ in (first, second, third)],
        [BUILT in said for _, said in (first, second, third)],
    ), first
    assert "" == second[1]
    assert works(checkout.venv)


@pytest.mark.slow
def test_two_at_once_set_up_once(checkout: Checkout) -> None:
    """Two scripts started together share one set-up. Otherwise each deletes the environment under the other's feet."""
    ends = [end(process) for process in [checkout.begin(), checkout.begin()]]

    assert [0, 0] == [status for status, _ in ends], ends
    assert [False, True] == sorted(BUILT in said for _, said in ends)


@pytest.mark.slow
def test_a_set_up_that_was_interrupted_is_done_anew(checkout: Checkout) -> None:
    """What a killed set-up leaves is not taken for whole. Otherwise every later run fails."""
    process = checkout.begin()
    until((checkout.venv / "bin" / "python").exists)
    os.killpg(process.pid, signal.SIGKILL)
    end(process)

    assert not (checkout.venv / ".complete").exists()
    status, said = checkout.set_up()
    assert (0, True) == (status, BUILT in said), said
    assert works(checkout.venv)


@pytest.mark.slow
@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="becomes another user, which takes root")
def test_a_checkout_of_somebody_else_is_left_alone(checkout: Checkout) -> None:
    """Where the checkout cannot be written, the environment goes to the user's cache. Otherwise nobody but the owner
    can run the tests.
    """
    os.chown(checkout.home, NOBODY, NOBODY)
    before = sorted(checkout.root.rglob("*"))
    status, said = checkout.set_up(user=NOBODY)

    assert 0 == status, said
    assert before == sorted(checkout.root.rglob("*"))
    assert [True] == [works(venv) for venv in checkout.home.glob(".cache/spotrelay/*/.venv")]


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere; its counterpart is the test above")
def test_a_read_only_checkout_is_left_alone(checkout: Checkout) -> None:
    """The same without root: a checkout that its owner made read-only."""
    for path in [*checkout.root.rglob("*"), checkout.root]:
        path.chmod(path.stat().st_mode & ~0o222)
    try:
        status, said = checkout.set_up()
        assert 0 == status, said
        assert [True] == [works(venv) for venv in checkout.home.glob(".cache/spotrelay/*/.venv")]
    finally:
        for path in [checkout.root, *checkout.root.rglob("*")]:
            path.chmod(path.stat().st_mode | 0o200)


@pytest.mark.slow
def test_a_python_without_venv_names_the_remedy(checkout: Checkout, tmp_path: Path) -> None:
    """Where Python came without ensurepip and nothing can replace it, the one command that helps is named, and what
    was begun is not taken for whole. Otherwise the first thing a newcomer sees is a traceback of somebody else's.
    """
    for name in ("ensurepip", "pip", "virtualenv"):
        (tmp_path / f"{name}.py").write_text("raise ModuleNotFoundError(__name__)\n")
    no_apt = checkout.root / "scripts" / "setup"
    no_apt.write_text(no_apt.read_text().replace("command -v apt-get", "false"))
    status, said = checkout.set_up(python_path=tmp_path)

    assert 1 == status
    assert "An administrator completes it: apt-get install -y python3-venv" in said
    assert not (checkout.venv / ".complete").exists()


@pytest.mark.slow
def test_the_bench_begins_without_a_network(checkout: Checkout) -> None:
    """From set-up to the bench's own help, with none of its peers: who cannot install them measures what is here."""
    first = checkout.begin_script("bench", "--no-install", "--help")
    said, complaints = first.communicate(timeout=120)

    assert (0, True) == (first.returncode, said.startswith("usage: scripts/bench ")), complaints


def test_a_failing_phase_shows_its_output(tmp_path: Path) -> None:
    """A phase that goes well is one line, one that fails shows all it said and ends the script with its exit code; the
    first failing command inside of it is the one that counts. Otherwise a half-built environment passes for whole.
    """
    functions = SCRIPTS.joinpath("setup").read_text().split("find_python() {")[0]
    script = tmp_path / "script"
    script.write_text(functions + "well() { echo hidden; }\nill() { echo shown; (exit 7); echo never; }\n")
    with script.open("a") as file:
        file.write('phase "it goes well" well\nphase "it goes ill" ill\necho never\n')
    done = subprocess.run(["bash", str(script)], capture_output=True, text=True, check=False)

    assert (7, "") == (done.returncode, done.stdout)
    assert ["it goes well", "shown", "it goes ill: failed with exit code 7 after"] == [
        re.sub(r"(  |after )\d+ s$", r"\1", line).rstrip() for line in done.stderr.splitlines()
    ]


def test_a_lock_notices_what_it_does_not_answer() -> None:
    """A lock is stale once pyproject.toml asks for something else, and when the image's pins are not development's.
    Otherwise the tests pass with one version and the image boots with another.
    """
    lock = step("lock")
    asked = lock.asked(
        {
            "project": {"requires-python": ">=3.11", "dependencies": ["a>=1"]},
            "build-system": {"requires": ["setuptools"]},
        }
    )
    head = lock.header(asked)
    image, development = head + "a==1.0 \\\n    --hash=x\n", head + "a==1.0 \\\n    --hash=x\nb==2\n"

    assert [] == lock.problems(asked, image, development)
    assert ["requirements.lock is older than pyproject.toml: run scripts/lock"] == lock.problems(
        asked, image.replace(asked, "0" * 64), development
    )
    assert ["the locks differ in a: run scripts/lock"] == lock.problems(
        asked, image.replace("a==1.0", "a==1.1"), development
    )


def test_the_locks_are_current_and_name_no_address() -> None:
    """Both locks answer pyproject.toml, every pin has hashes, none an address. Otherwise an install is not what was
    tested, or works on its author's network alone.
    """
    done = subprocess.run([sys.executable, str(SCRIPTS / "steps" / "lock.py"), "--check"], check=False)
    texts = [path.read_text() for path in (ROOT / "requirements.lock", SCRIPTS / "dev.lock")]

    assert 0 == done.returncode
    assert [] == [text for text in texts if "://" in text]
    assert [] == [line for text in texts for line in text.splitlines() if "==" in line and not line.endswith("\\")]


def test_readme_blocks_hold_what_their_command_says() -> None:
    """A block becomes its command's output, its fence stays, and what has changed is named. Otherwise the README tells
    of options that are gone.
    """
    readme = step("readme")
    old = "a\n<!-- begin: echo new -->\n```console\nold\n```\n<!-- end: echo new -->\nb\n"
    fresh, stale = readme.generate(old)

    assert "a\n<!-- begin: echo new -->\n```console\nnew\n```\n<!-- end: echo new -->\nb\n" == fresh
    assert ["echo new"] == stale
    assert (fresh, []) == readme.generate(fresh)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("<!-- begin: false -->\n<!-- end: false -->\n", "`false` ended 1"),
        ("<!-- begin: no-such-command -->\n<!-- end: no-such-command -->\n", "`no-such-command` did not run"),
        ("<!-- begin: true -->\n<!-- end: false -->\n", "`true` is not closed before `false`"),
        ("<!-- begin: true -->\n", "stands alone"),
    ],
)
def test_a_readme_block_that_cannot_be_made_is_named(text: str, problem: str) -> None:
    """A broken block stops with its name. Otherwise an empty block, or half a README, is committed."""
    readme = step("readme")
    with pytest.raises(readme.BlockBroken, match=problem):
        readme.generate(text)


def test_places_of_one_machine_are_found(tmp_path: Path) -> None:
    """A path of this checkout and a package index are found by line. Otherwise the code works for its author alone."""
    places = step("places")
    file = tmp_path / "file"
    file.write_text(f"fine: /tmp/x, /etc/y\nopen('{ROOT}/secret')\npip install --index{'-url'} x\n")

    assert [(2, f"a path of this machine: {ROOT}/"), (3, f"a package index: --index{'-url'}")] == list(
        places.findings(file)
    )


@pytest.mark.parametrize(("check", "test", "status"), [(0, 0, 0), (3, 0, 3), (0, 5, 5), (3, 5, 3)])
def test_ci_runs_both_and_ends_as_the_first_that_failed(tmp_path: Path, check: int, test: int, status: int) -> None:
    """CI runs the tests whatever the check said, ends with their closing line, and fails when either did. Otherwise a
    style error hides a broken test until the next push, or a red run is green.
    """
    (tmp_path / ".ci").mkdir()
    (tmp_path / "scripts").mkdir()
    shutil.copy(ROOT / ".ci" / "run", tmp_path / ".ci")
    for name, code in (("check", check), ("test", test)):
        script = tmp_path / "scripts" / name
        script.write_text(f"#!/bin/sh\ncat\necho {name} $CI\nexit {code}\n")
        script.chmod(0o755)
    done = subprocess.run([str(tmp_path / ".ci" / "run")], cwd="/", capture_output=True, text=True, check=False)

    assert (status, ["check true", "test true"]) == (done.returncode, done.stdout.splitlines())
