"""What feeds the launcher from its queue: shut before a stack goes, open as long as it stays."""

from __future__ import annotations

from spotrelay.stack.account import Account
from spotrelay.stack.refusals import told
from spotrelay.stack.standing import Standing


def shut(account: Account, standing: Standing) -> bool:
    """Whether there was something to shut."""
    return _set(account, standing, wanted=False)


def open_again(account: Account, standing: Standing) -> bool:
    """Whether it was shut: by a destruction that ended half-way, of which CloudFormation knows nothing."""
    return _set(account, standing, wanted=True)


def _set(account: Account, standing: Standing, *, wanted: bool) -> bool:
    function = standing.outputs.get("FunctionName")
    if function is None:
        return False  # a first deployment that did not come so far
    with told(f"{'start' if wanted else 'stop'} the launcher", account.place):
        found = account.functions.list_event_source_mappings(FunctionName=function)["EventSourceMappings"]
        # Any that is not shut already, or on its way there, counts as open.
        turned = [each.get("UUID", "") for each in found if each.get("State", "").startswith("Disabl") is wanted]
        for source in turned:
            account.functions.update_event_source_mapping(UUID=source, Enabled=wanted)
    return bool(turned)
