"""`spotrelay receipt RUN`: what it was, in seconds and dollars; drawn here, or to keep."""

from __future__ import annotations

import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from spotrelay.cli.groups import grouped
from spotrelay.cli.looking import AsJson, look, note
from spotrelay.cli.naming import RunName
from spotrelay.cli.place import Bucket
from spotrelay.core.errors import UsageError

if TYPE_CHECKING:
    from spotrelay.person.receipt import Receipt
    from spotrelay.ports import BrowsableStore


@grouped
def receipt(
    run: RunName,
    html: Annotated[Path | None, typer.Option(help="Keep it as a page.", show_default=False)] = None,
    png: Annotated[Path | None, typer.Option(help="Keep it as a picture.", show_default=False)] = None,
    as_json: AsJson = False,
    *,
    place: Bucket,
) -> None:
    """Show what RUN was: its attempts to scale, what was lost, and what it cost.

    Only what was written down: a figure that nobody measured stays "?". A
    run that goes on has a receipt so far.

    Example: spotrelay receipt resnet-7 --html resnet-7.html
    """
    found = look(place, lambda at: _find(at, run))
    if html is not None:
        _keep(html, _page(found))
    if png is not None:
        _keep(png, _picture(found))
    if as_json:
        print(json.dumps(document(found), indent=2))
    elif html is None and png is None:
        _print(found)


async def _find(store: BrowsableStore, text: str) -> Receipt:
    from spotrelay.person import receipt as receipts  # noqa: PLC0415
    from spotrelay.person import runs  # noqa: PLC0415

    return await receipts.receipt(store, await runs.find(store, text))


def _print(found: Receipt) -> None:
    from spotrelay.cli.receipt_drawn import print_receipt  # noqa: PLC0415

    print_receipt(found, time.time())


def _page(found: Receipt) -> bytes:
    from spotrelay.cli.receipt_kept import page  # noqa: PLC0415

    return page(found).encode("utf-8", "replace")


def _picture(found: Receipt) -> bytes:
    from spotrelay.cli.receipt_kept import picture  # noqa: PLC0415

    return picture(found)


def _keep(path: Path, data: bytes) -> None:
    """Whole, or as it was before."""
    fresh = path.with_name(f".{path.name}.new")
    try:
        fresh.write_bytes(data)
        fresh.replace(path)
    except OSError as error:
        fresh.unlink(missing_ok=True)
        raise UsageError(f"{path}: {error.strerror}", next_step="name a file that can be written") from error
    note(f"kept as {path}")


def document(found: Receipt) -> dict[str, Any]:
    """Behind `--json`: the model as it is. `version` grows when a field changes its meaning; fields may be added."""
    return {"version": 1, **asdict(found), "saved_dollars": found.saved_dollars}
