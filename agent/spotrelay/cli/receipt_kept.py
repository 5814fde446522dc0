"""A receipt to keep: one page that needs nothing else, and a picture.

The picture takes Pillow, which draws text with a font of its own, so that it looks the same wherever it is made. It is
20 MB that nobody needs on an instance: an extra, `pip install 'spotrelay[png]'`. A page can be printed to a picture or
PDF by any browser.
"""

from __future__ import annotations

import html
import io

from spotrelay.cli import receipt_told
from spotrelay.cli.told import plain
from spotrelay.core.errors import UsageError
from spotrelay.person.receipt import Receipt
from spotrelay.person.timeline import COLOURS, Drawing, drawing, style, svg

# Twice the size on screens that have the pixels.
SCALE = 2
_PAGE = """<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">
<title>{title}</title>
<style>:root{{color-scheme:light dark}}body{{margin:1rem auto;max-width:60rem;font-family:system-ui,sans-serif}}
svg{{max-width:100%;height:auto}}{style}</style></head>
<body>{svg}</body></html>
"""


def page(found: Receipt) -> str:
    return _PAGE.format(title=html.escape(receipt_told.headline(found)), style=style(), svg=svg(_drawn(found)))


def picture(found: Receipt) -> bytes:
    """A PNG. Raises UsageError where Pillow is not installed."""
    try:
        from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415
    except ImportError as error:
        raise UsageError(
            "pictures take Pillow, which is not installed",
            next_step="pip install 'spotrelay[png]'; or --html, which any browser prints",
        ) from error
    what = _drawn(found)
    colours = {kind: light for kind, (light, _) in COLOURS.items()}
    image = Image.new("RGB", (what.width * SCALE, what.height * SCALE), colours["ground"])
    draw = ImageDraw.Draw(image)
    for box in what.boxes:
        corners = (box.x, box.y, box.x + box.width, box.y + box.height)
        draw.rectangle([SCALE * each for each in corners], fill=colours[box.kind])
    for words in what.words:
        font = ImageFont.load_default(words.size * SCALE)
        draw.text((words.x * SCALE, words.y * SCALE), words.text, fill=colours[words.kind], font=font, anchor="ls")
    kept = io.BytesIO()
    image.save(kept, "PNG")
    return kept.getvalue()


def _drawn(found: Receipt) -> Drawing:
    notes = [plain(f"{name}: {value}") for name, value in receipt_told.totals(found)]
    title = plain(receipt_told.headline(found))
    return drawing(found, lambda leg: plain(receipt_told.leg(leg)), title, notes)
