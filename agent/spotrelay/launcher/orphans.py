"""Is somebody home? What becomes of one instance of ours, decided from what is known of it: no I/O, one function.

The first line that fits is the answer:

    it does not carry our tag                              FOREIGN    leave it, whatever it is
    its owner's heartbeat is an hour ahead of us           SKEWED     leave it, call a person: silence cannot be told
    its owner was heard of in the last quarter of an hour  HEARD      leave it: it works, saves, or publishes
    its owner's run asked to keep the instance
        its attempt is over                                KEPT       leave it
        its owner has been silent for half an hour         STUCK      leave it, call a person: nobody else may end it
        otherwise                                          QUIET      leave it
    neither its assignment nor its fleet is in our store
        a fleet launched it, or it is twenty minutes old   STRANGE    leave it, call a person: the store is not its own
    it is being stopped                                    STOPPING   leave it: an agent may be saving
    it is stopped                                          STOPPED    end it: it pays for its disk
    it has an owner, whose attempt is over                 DONE       end it: it should have left by itself
    it has an owner, silent for less than half an hour     QUIET      leave it: the store may be away, or its network
    it has an owner, silent for longer                     SILENT     end it, unless most others are silent as well
    it is assigned, to an attempt that another one owns
        for less than five minutes                         COMING     leave it: it will see that by itself
        for longer                                         LOST       end it
    it is assigned, to an attempt that nobody owns
        for less than twenty minutes                       COMING     leave it: it boots
        for longer                                         STILLBORN  end it
    nobody assigned it
        for less than a minute                             COMING     leave it: its launcher is at it
        for less than twenty                               WAITING    leave it, and ask for its fleet's candidates again
        for longer                                         UNWANTED   end it

An *owner* is the instance that the claim of its attempt names. An attempt is *over* when there is an outcome, its
hand-over, or a later claim. Ending one is graceful: its operating system is stopped, and an agent that lives after all
gets its two minutes to save. That is why half an hour of silence is enough, and why the instant between the last look
and EC2's answer does not have to be fenced.

What is not there proves nothing by itself: a launcher that was given another store finds nothing of anybody. So only an
instance whose fleet is there is known to be unassigned.

Ages are by EC2's launch time and heartbeats by the instance's own clock. Both are kept by the same time service, and
a clock that is ten minutes off, ours or theirs, still ends nobody who works.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from spotrelay.core import records
from spotrelay.launcher.inventory import Instance
from spotrelay.launcher.pools import FLEET_TAG, STACK_TAG

# A heartbeat comes every 15 s. Sixty missed ones where nothing can be lost any more; three times the agent's own
# patience with a store (600 s) where there may be work.
DONE_S = 900.0
SILENT_S = 1800.0
SKEW_S = 3600.0
# A launcher's call takes a minute at most; whoever launched it may still be writing the assignment.
ASKED_AFTER_S = 60.0
# From its launch to its claim: five minutes to boot (GPU images take them), ten to be assigned (the agent waits no
# longer), five for a store that is slow.
COMING_S = 1200.0
# An agent that lost the claim turns its instance off at once.
LOST_S = 300.0


class Fate(Enum):
    LEAVE = auto()
    ASK = auto()  # leave it, and ask for what it was launched for
    CALL = auto()  # leave it, and call a person
    END = auto()
    END_IF_FEW = auto()  # not when most are so: then it is not they


class Verdict(Enum):
    """What becomes of it, and why."""

    FOREIGN = Fate.LEAVE, "it does not carry our tag"
    SKEWED = Fate.CALL, "its heartbeat comes from the future: set its clock, or end it"
    HEARD = Fate.LEAVE, "its owner was heard of"
    KEPT = Fate.LEAVE, "its run asked to keep it (instance.keep_alive)"
    STUCK = Fate.CALL, "its agent is silent in the middle of the run, and instance.keep_alive forbids to end it: end it"
    STRANGE = Fate.CALL, "this store knows nothing of it: was the stack given another bucket? end it if nobody needs it"
    STOPPING = Fate.LEAVE, "it is being stopped"
    STOPPED = Fate.END, "it is stopped, and pays for its disk"
    DONE = Fate.END, "its attempt is over, and it did not leave"
    QUIET = Fate.LEAVE, "its owner is silent, but not for long"
    SILENT = Fate.END_IF_FEW, "its owner has been silent for half an hour"
    LOST = Fate.END, "another instance owns its attempt, and it did not leave"
    COMING = Fate.LEAVE, "it is booting"
    STILLBORN = Fate.END, "it never claimed its attempt"
    WAITING = Fate.ASK, "nobody has assigned it yet"
    UNWANTED = Fate.END, "nobody assigned it"

    def __init__(self, fate: Fate, why: str) -> None:
        self.fate, self.why = fate, why


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of an instance. `fleet`: looked for only when it is not assigned; `over` and `kept`: only when its
    owner was not heard of lately."""

    instance: Instance
    assignment: records.Assignment | None = None
    claim: records.Claim | None = None
    status: records.Status | None = None
    over: bool = False
    kept: bool = False
    fleet: records.Fleet | None = None

    @property
    def owns(self) -> bool:
        return self.claim is not None and self.claim.instance == self.instance.id

    @property
    def heard_at(self) -> float:
        """Of the attempt's owner, whoever that is."""
        claimed = self.claim.at if self.claim is not None else 0.0
        return max(claimed, self.status.at) if self.status is not None else claimed

    @property
    def told_to_go(self) -> bool:
        return self.status is not None and self.status.gone_at is not None


def judge(evidence: Evidence, stack: str, now: float) -> Verdict:
    instance, owns, claimed = evidence.instance, evidence.owns, evidence.claim is not None
    assigned, kept = evidence.assignment is not None, owns and evidence.kept
    silence, age = now - evidence.heard_at, now - instance.launched_at
    unknown = not assigned and evidence.fleet is None
    lines = (
        (Verdict.FOREIGN, instance.tags.get(STACK_TAG) != stack),
        (Verdict.SKEWED, owns and silence < -SKEW_S),
        (Verdict.HEARD, owns and silence < DONE_S),
        (Verdict.KEPT, kept and evidence.over),
        (Verdict.STUCK, kept and silence >= SILENT_S),
        (Verdict.QUIET, kept),
        (Verdict.STRANGE, unknown and (FLEET_TAG in instance.tags or age >= COMING_S)),
        (Verdict.STOPPING, instance.state == "stopping"),
        (Verdict.STOPPED, instance.state == "stopped"),
        (Verdict.DONE, owns and evidence.over),
        (Verdict.QUIET, owns and silence < SILENT_S),
        (Verdict.SILENT, owns),
        (Verdict.COMING, claimed and age < LOST_S),
        (Verdict.LOST, claimed),
        (Verdict.COMING, age < (COMING_S if assigned else ASKED_AFTER_S)),
        (Verdict.STILLBORN, assigned),
        (Verdict.WAITING, age < COMING_S),
        (Verdict.UNWANTED, True),
    )
    return next(verdict for verdict, fits in lines if fits)
