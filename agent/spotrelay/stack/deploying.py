"""From whatever stands there to a working stack. A second try begins where the first one ended.

nothing            made in two steps: all but the launcher, its code into the bucket, the launcher
half made          deleted, then as above. Nothing in it ever worked, and a bucket that was not made whole is empty
under way          waited for: a deployment that was interrupted here goes on there
stuck              its undoing is taken up again, then as below
whole              updated; where nothing differs, nothing is done
not ours           left alone: StackClash
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import spotrelay
from spotrelay.core.errors import StackClash, StackFailed, UsageError
from spotrelay.stack import changes, code, feed, ground, template
from spotrelay.stack.account import Account
from spotrelay.stack.changes import Plan
from spotrelay.stack.progress import Event, Following
from spotrelay.stack.refusals import told
from spotrelay.stack.standing import GONE, STUCK, Standing, look

# Each step of healing leaves another state behind. More than this, and it goes in a circle.
MOST_STEPS = 6
MADE = ("CREATE_COMPLETE", "UPDATE_COMPLETE")


@dataclass(frozen=True, slots=True)
class Wishes:
    """What a person asked for. Empty or None: as it is, and at first a default."""

    stack: str
    image: str | None = None
    types: list[str] = field(default_factory=list)
    zones: list[str] = field(default_factory=list)
    email: str | None = None
    notify: str | None = field(default=None, repr=False)  # a webhook's address is a secret
    bucket: str | None = None
    volume_gib: int | None = None


@dataclass(frozen=True, slots=True)
class Audience:
    """Who is told what happens. `approve`: it "replaces or removes …"; may it?"""

    phase: Callable[[str], None]
    event: Callable[[Event], None]
    plan: Callable[[Plan], None]
    approve: Callable[[str], bool]


@dataclass(frozen=True, slots=True)
class Deployed:
    """`changes`: all that were made, in both steps."""

    standing: Standing
    changes: tuple[changes.Change, ...]
    approved: bool = True


class Deployment:
    """One use."""

    def __init__(self, account: Account, wishes: Wishes, audience: Audience) -> None:
        self._account, self._wishes, self._audience = account, wishes, audience
        self._code = code.packed()

    def run(self) -> Deployed:
        """Raises StackError, UsageError."""
        self._account.number()
        standing = self._heal()
        values = self._values(standing)
        self._service_role(standing)
        made: tuple[changes.Change, ...] = ()
        bucket = values.get(template.BUCKET) or (standing.bucket if standing else None)
        before = standing.bucket if standing else None
        if bucket:
            ground.must_be_here(self._account, bucket)
        else:
            standing, made = self._make({**values, template.LAUNCHER_ZIP: ""}, standing)
            bucket = standing.bucket
        if not bucket:
            raise StackFailed("the stack names no bucket", next_step="`spotrelay destroy`, then deploy anew")
        self._upload(bucket)
        plan = self._plan(values, standing)
        losses = _losses(plan, before if bucket != before else None)
        if losses and not self._audience.approve(losses):
            changes.discard(self._account, plan)
            assert standing is not None, "what is not there cannot lose"
            return Deployed(standing, made, approved=False)
        standing, more = self._perform(plan, standing)
        if feed.open_again(self._account, standing):
            self._audience.phase("the launcher takes requests again")
        return Deployed(standing, (*made, *more))

    def rehearse(self) -> Plan | None:
        """What `run` would change in a whole stack; None where it would make one, or first bring one to rest. Changes
        nothing. Raises what `run` would raise before its first change."""
        self._account.number()
        standing = look(self._account, self._wishes.stack)
        if standing is not None:
            self._must_be_ours(standing)
        if first := self._first(standing):
            self._audience.phase(first)
            if self._wishes.image:
                self._values(None)
        if self._wishes.bucket:
            ground.must_be_here(self._account, self._wishes.bucket)
        if standing is None or first:
            return None
        plan = self._plan(self._values(standing), standing)
        changes.discard(self._account, plan)
        return plan

    def _first(self, standing: Standing | None) -> str:
        """What has to be done before an update; "" when nothing has."""
        name = self._wishes.stack
        if standing is None:
            return f"there is no stack {name} in {self._account.region}: it would be made"
        if standing.under_way:
            return f"{name} is {standing.status}: that would be waited for"
        if standing.half_made:
            return f"{name} is {standing.status}: it would be removed, and made anew"
        return f"{name} is {standing.status}: that would be taken back first" if standing.status in STUCK else ""

    def _heal(self) -> Standing | None:
        """None, or a stack that can be updated."""
        for _ in range(MOST_STEPS):
            standing = look(self._account, self._wishes.stack)
            if standing is None:
                return None
            self._must_be_ours(standing)
            if standing.under_way:
                self._audience.phase(f"{standing.name} is {standing.status}: waiting for it")
                self._follow(standing.id)
            elif standing.half_made:
                self._remove(standing)
            elif standing.status in STUCK:
                self._take_back(standing)
            else:
                return standing
        raise StackFailed(
            f"{self._wishes.stack} does not come to rest", next_step="look at its events in the CloudFormation console"
        )

    def _must_be_ours(self, standing: Standing) -> None:
        if standing.foreign:
            raise StackClash(
                f"there is a stack {standing.name} in {self._account.region}, and spotrelay did not make it",
                next_step="choose another name by --stack-name",
            )

    def _remove(self, standing: Standing) -> None:
        self._audience.phase(f"{standing.name} is {standing.status}: removing it, to begin anew")
        following = Following(self._account, standing.id)
        with told("remove the half-made stack", self._account.place):
            self._account.cloudformation.delete_stack(StackName=standing.id)
        after = following.until_settled(self._audience.event)
        if after.status != GONE:
            raise following.failure(after)

    def _take_back(self, standing: Standing) -> None:
        self._audience.phase(f"{standing.name} is {standing.status}: taking its update back")
        following = Following(self._account, standing.id)
        with told("take the failed update back", self._account.place):
            self._account.cloudformation.continue_update_rollback(StackName=standing.id)
        after = following.until_settled(self._audience.event)
        if after.status in STUCK:
            failed = following.failure(after)
            raise StackFailed(
                failed.what,
                next_step="mend what it names, or give it up: `aws cloudformation continue-update-rollback "
                f"--stack-name {standing.name} --resources-to-skip …`; then deploy again",
            )

    def _values(self, standing: Standing | None) -> dict[str, str]:
        """Of the template's parameters, those that this deployment sets."""
        wishes, values = self._wishes, {template.VERSION: spotrelay.__version__}
        values[template.LAUNCHER_ZIP] = code.key_of(self._code)
        first = standing is None
        if first and not wishes.image:
            raise UsageError("--image is missing", next_step="give the image with the agent in it: --image ami-…")
        values |= self._machines(standing.parameters if standing else {})
        if wishes.zones or first:
            values[template.ZONES] = ",".join(ground.zones(self._account, wishes.zones))
        if wishes.volume_gib is not None:
            values[template.VOLUME_GIB] = str(wishes.volume_gib)
        if wishes.email is not None:
            values[template.EMAIL] = wishes.email
        if wishes.notify is not None:
            values |= template.notify(wishes.notify)
        if wishes.bucket and wishes.bucket != (standing.bucket if standing else None):
            values[template.BUCKET] = wishes.bucket
        return values

    def _machines(self, before: dict[str, str]) -> dict[str, str]:
        """Image and types, where either is given: they have to fit each other."""
        wishes = self._wishes
        if not wishes.image and not wishes.types and not wishes.volume_gib:
            return {}
        image = ground.image(self._account, wishes.image or before[template.IMAGE])
        ground.must_hold(wishes.volume_gib or int(before.get(template.VOLUME_GIB, template.DEFAULT_GIB)), image)
        kept = [] if wishes.types else before.get(template.TYPES, "").split(",")
        types = list(filter(None, kept)) or ground.types(self._account, wishes.types, image.architecture)
        ground.must_fit(self._account, types, image)
        return {
            template.IMAGE: image.id,
            template.ROOT_DEVICE: image.root_device,
            template.TYPES: ",".join(types),
        }

    def _service_role(self, standing: Standing | None) -> None:
        if standing is None and (problem := ground.make_service_role(self._account)):
            self._audience.phase(problem)

    def _upload(self, bucket: str) -> None:
        if code.upload(self._account, bucket, self._code):
            self._audience.phase(f"put the launcher's code into {bucket} ({len(self._code) / 1000:.0f} kB)")

    def _plan(self, values: dict[str, str], standing: Standing | None) -> Plan:
        plan = changes.propose(self._account, self._wishes.stack, values, standing)
        self._audience.plan(plan)
        return plan

    def _make(self, values: dict[str, str], standing: Standing | None) -> tuple[Standing, tuple[changes.Change, ...]]:
        self._audience.phase(f"making {self._wishes.stack} in {self._account.region}")
        return self._perform(self._plan(values, standing), standing)

    def _perform(self, plan: Plan, standing: Standing | None) -> tuple[Standing, tuple[changes.Change, ...]]:
        if plan.change_set is None:
            assert standing is not None, "only what is there can have nothing to change"
            return standing, ()
        following = Following(self._account, plan.stack_id)
        changes.begin(self._account, plan)
        after = following.until_settled(self._audience.event)
        if after.status not in MADE:
            raise following.failure(after)
        return after, plan.changes

    def _follow(self, stack_id: str) -> None:
        Following(self._account, stack_id).until_settled(self._audience.event)


def _losses(plan: Plan, left: str | None) -> str:
    """What cannot be had back afterwards, after "this …". `left`: the bucket that is the stack's no more."""
    gone = [f"replaces or removes {', '.join(change.resource for change in plan.losses)}"] if plan.losses else []
    return " and ".join([*gone, *([f"leaves the runs in s3://{left}, which nobody resumes any more"] if left else [])])
