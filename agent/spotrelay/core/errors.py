"""Every error a person can meet, its exit code, and the next step.

    SpotrelayError                  1   anything that has no code of its own
    ├── UsageError                  2   the command line is wrong
    ├── SpecError                   3   run.toml or user data is wrong; every problem at once
    ├── CommandError                    the user's command cannot start
    │   ├── CommandNotExecutable  126   it is no program, or may not be executed (the shell's own code)
    │   └── CommandNotFound       127   there is no such program (the shell's own code)
    ├── StoreError                 10   the bucket or folder answers, but not as it must
    │   ├── StoreUnavailable       11   no answer, throttled, 5xx: trying again can help
    │   ├── StoreDenied            12   credentials or policy: trying again cannot help
    │   ├── StoreFull              13   no space left, or a quota
    │   ├── NotFound               14   there is no such object
    │   └── AlreadyExists          15   a create-only object is there already
    ├── SnapshotError              20   a snapshot cannot be made or used
    │   ├── ManifestInvalid        21   garbled or hostile: refused before a byte is written
    │   ├── ManifestUnknown        22   written by a newer spotrelay
    │   ├── PackCorrupt            23   bytes do not match their hash or size
    │   ├── RestoreFailed          24   the directory could not be rebuilt; the command is not started
    │   └── SaveFailed             25   the directory could not be saved
    ├── MetadataUnavailable        30   the instance metadata service does not answer
    ├── QueueError                 31   the resume request could not be posted
    ├── SecretError                     a secret of the run cannot be had. Raised as one of its two kinds
    │   ├── SecretRefused          35   there is no such parameter, or the role may not read it
    │   └── SecretUnavailable      36   no answer, or throttled: trying again can help
    ├── ClaimLost                  32   another instance owns this attempt
    ├── Unassigned                 33   nobody gave this instance a run
    ├── RunOver                    34   the run has an outcome already, was cancelled, or reached a limit
    ├── StackError                 50   AWS did not do what was asked of it for the stack
    │   ├── StackCredentials       51   there are none, they have expired, or AWS does not know them
    │   ├── StackDenied            52   they lack a permission; the message names it
    │   ├── StackRegion            53   there is none, it is not enabled, or it is not where the image or bucket is
    │   ├── StackClash             54   something of that name is there, and is not ours
    │   ├── StackFailed            55   CloudFormation began and could not finish; a second try begins where it can
    │   ├── StackUnreachable       56   AWS does not answer, or throttles: trying again can help
    │   └── StackInUse             57   instances of the stack are alive
    ├── Unwell                     60   `spotrelay doctor` found a problem; its remedy stands beside it
    └── RunError                        a run cannot be asked for that
        ├── NoSuchRun              70   there is none of that name
        ├── AmbiguousRun           71   several begin with that
        ├── RunExists              72   there is one of that name already
        ├── RunNotOver             73   it must end first
        ├── RunFailed              74   it was followed to its end: its command failed
        ├── RunStopped             75   it was followed to its end: a person stopped it
        ├── RunAtLimit             76   it reached one of its limits, or has reached it already
        └── NotInterruptible       77   there is no spot instance to interrupt, or no way to interrupt it

Verdicts of `spotrelay rehearse` have exit codes too (`cli/verdict.py`, 40 and up); a test holds all of them unique
and listed in the README.
"""

from __future__ import annotations

from collections.abc import Sequence


class SpotrelayError(Exception):
    """What happened, and what to do next. `str()` is what the user sees, without a traceback."""

    exit_code = 1

    def __init__(self, what: str, *, next_step: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.next_step = next_step

    def __str__(self) -> str:
        return f"{self.what} — {self.next_step}" if self.next_step else self.what


class UsageError(SpotrelayError):
    exit_code = 2


class SpecError(SpotrelayError):
    """All problems of one spec; each says its place, what is wrong, and the remedy."""

    exit_code = 3

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = tuple(problems)


class CommandError(SpotrelayError):
    """The user's command cannot start. Raised as one of its two kinds."""


class CommandNotExecutable(CommandError):
    exit_code = 126


class CommandNotFound(CommandError):
    exit_code = 127


class StoreError(SpotrelayError):
    exit_code = 10


class StoreUnavailable(StoreError):
    exit_code = 11


class StoreDenied(StoreError):
    exit_code = 12


class StoreFull(StoreError):
    exit_code = 13


class NotFound(StoreError):
    exit_code = 14


class AlreadyExists(StoreError):
    exit_code = 15


class SnapshotError(SpotrelayError):
    exit_code = 20


class ManifestInvalid(SnapshotError):
    exit_code = 21


class ManifestUnknown(SnapshotError):
    exit_code = 22


class PackCorrupt(SnapshotError):
    exit_code = 23


class RestoreFailed(SnapshotError):
    exit_code = 24


class SaveFailed(SnapshotError):
    exit_code = 25


class MetadataUnavailable(SpotrelayError):
    exit_code = 30


class QueueError(SpotrelayError):
    exit_code = 31


class SecretError(SpotrelayError):
    """Names the parameter, and never what is in it."""


class SecretRefused(SecretError):
    exit_code = 35


class SecretUnavailable(SecretError):
    exit_code = 36


class ClaimLost(SpotrelayError):
    exit_code = 32


class Unassigned(SpotrelayError):
    exit_code = 33


class RunOver(SpotrelayError):
    exit_code = 34


class StackError(SpotrelayError):
    exit_code = 50


class StackCredentials(StackError):
    exit_code = 51


class StackDenied(StackError):
    exit_code = 52


class StackRegion(StackError):
    exit_code = 53


class StackClash(StackError):
    exit_code = 54


class StackFailed(StackError):
    exit_code = 55


class StackUnreachable(StackError):
    exit_code = 56


class StackInUse(StackError):
    exit_code = 57


class Unwell(SpotrelayError):
    """The examination's report has been printed; this is what a script sees of it."""

    exit_code = 60


class RunError(SpotrelayError):
    """What a person asked of a run is not to be had. Raised as one of its kinds."""


class NoSuchRun(RunError):
    exit_code = 70


class AmbiguousRun(RunError):
    exit_code = 71


class RunExists(RunError):
    exit_code = 72


class RunNotOver(RunError):
    exit_code = 73


class RunFailed(RunError):
    exit_code = 74


class RunStopped(RunError):
    exit_code = 75


class RunAtLimit(RunError):
    exit_code = 76


class NotInterruptible(RunError):
    exit_code = 77
