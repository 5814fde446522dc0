"""The page in a real browser, as a person uses it: by mouse, by keyboard, in any window, of any bucket."""

from __future__ import annotations

import io
import os
import tarfile
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from spotrelay.aws.store import open_store
from spotrelay.cli.by_hand import ByHand
from spotrelay.cli.place import Where
from spotrelay.core import keys, records
from spotrelay.core.keys import SnapshotId
from spotrelay.ports import BrowsableStore
from spotrelay.snapshot import Snapshots
from spotrelay.ui import poller as polling
from support import chromium as driver
from support.chromium import Browser, Page, chromium
from support.served import Served, claim, put, served, write_ended, write_running
from support.stores import Recording, memory
from support.story import stage, until

pytestmark = [pytest.mark.slow, pytest.mark.skipif(driver.PROGRAM is None, reason=driver.MISSING)]

BADGE = "document.querySelector('article:not(.unknown) .badge')?.textContent"
NAME = "document.querySelector('article h2')?.textContent"
LOG = "document.querySelector('.pane .text').textContent"
EVIL = "<img src=x onerror=alert(1)></script><script>alert(1)</script>"


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[Browser]:
    async with chromium(tmp_path / "chromium") as browser:
        yield browser


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOOK_S", "OPEN_S", "VIEW_S", "NAMES_S"):
        monkeypatch.setattr(polling, name, 0.2)


def row(name: str, *words: str) -> str:
    """True once the list has that run, and says this of it."""
    said = "".join(f" && row.textContent.includes({word!r})" for word in words)
    return f"[...document.querySelectorAll('.row:not([hidden])')].some((row) => row.dataset.name === {name!r}{said})"


async def opened(browser: Browser, site: Served, run: str = "", **looks: int | bool) -> Page:
    page = await browser.page(**looks)
    await page.go(site.start)
    await page.until("document.querySelector('#list .row, #list .empty:not([hidden])') !== null")
    if run:
        await page.of(f"location.hash = '#/{run}'")
        await page.until(f"{NAME} === {run!r} && {BADGE} !== undefined")
    return page


def break_off(site: Served) -> None:
    """Every connection, as a network does that goes away."""
    assert site.runner.server is not None
    for connection in site.runner.server.connections:
        if connection.transport is not None:
            connection.transport.abort()


async def saved(store: BrowsableStore, run: str, root: Path, snapshot: SnapshotId) -> None:
    await Snapshots(store, run, root).save(snapshot)


async def test_a_run_is_followed_from_its_start_to_its_end(browser: Browser, tmp_path: Path) -> None:
    """It is started elsewhere; it appears, runs, is told to go, saves, goes on elsewhere and ends; its log follows, and
    what is downloaded is what it wrote. All of it without touching the page: that is what it is for."""
    async with stage(tmp_path / "cloud", module="support.hasty") as cloud, served(open_store(cloud.store_url)) as site:
        page = await opened(browser, site)
        assert "There are no runs yet." == await page.text("#list .empty")
        story = await cloud.begin("slow-to-save")
        await page.until(row(story.run))
        await page.of(f"location.hash = '#/{story.run}'")
        instance = await story.ready(1)
        await page.until(f"{BADGE} === 'running'")
        await page.until(row(story.run, "running", "attempt 1"))
        cloud.interrupt(instance, in_s=60)
        # A successor that claims before the page looks is what it shows: then the run is starting again.
        await page.until(f"['ending', 'starting'].includes({BADGE})")
        (story.shared / "may-save").touch()
        await story.phase(1, "staying")
        cloud.take(story.computers(1)[0].instance.id)
        await page.until("document.querySelectorAll('.attempts tbody tr').length === 2")
        await story.ends("succeeded")
        await page.until(f"{BADGE} === 'succeeded'")
        await until(lambda: _shows(page, ".sentence", "through 1 interruption"), what="the sentence")
        await page.until(row(story.run, "succeeded", "2 attempts"))
        await page.until(f"/step 30\\n[^]*attempt 2[^]*step 60/.test({LOG})")
        lane = await page.of(
            "[...document.querySelectorAll('.lane')].map((g) => [...g.children].map((e) => e.getAttribute('class')))"
        )
        assert 2 == len(lane)
        assert {"work", "out", "notice", "saves"} <= set(lane[0])
        assert {"work", "end succeeded"} <= set(lane[1])
        await page.press("f")
        await page.click(".entry a[download=result]")
        await until((browser.downloads / "result").exists, what="the download", within=60)
        assert (await story.result()).encode() == (browser.downloads / "result").read_bytes()
        assert [] == page.complaints


async def test_a_large_file_is_downloaded_whole(browser: Browser, tmp_path: Path) -> None:
    """Through packs and a real browser's own hands, byte for byte; and so is the whole directory."""
    store, root = memory(), tmp_path / "job"
    (root / "checkpoints").mkdir(parents=True)
    data = os.urandom(40_000_000)
    (root / "checkpoints" / "w.bin").write_bytes(data)
    await write_ended(store, "demo")
    await saved(store, "demo", root, SnapshotId(0, 0))
    async with served(store) as site:
        page = await opened(browser, site, "demo")
        await page.press("f")
        await page.click(".entry.directory")
        await page.click(".entry.file a")
        target = browser.downloads / "w.bin"
        await until(lambda: target.exists() and target.stat().st_size == len(data), what="the download", within=60)
        await page.click(".tools .all")
        whole = browser.downloads / "demo.tar"
        await until(whole.exists, what="the download", within=60)

        assert data == target.read_bytes()
        with tarfile.open(whole) as tar:
            assert ["demo", "demo/checkpoints", "demo/checkpoints/w.bin"] == tar.getnames()
            assert data == (tar.extractfile("demo/checkpoints/w.bin") or io.BytesIO()).read()


async def test_all_of_it_is_reached_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    """Choosing, opening, filtering, the tabs, the tree, the log's ends, stopping and changing one's mind. Otherwise who
    has no mouse, or no patience for one, is locked out."""
    store, root = memory(), tmp_path / "job"
    (root / "folder").mkdir(parents=True)
    (root / "folder" / "file.txt").write_text("words")
    for name in ("alpha", "beta", "gamma"):
        await write_ended(store, name, at=5000.0 - ord(name[0]))
        await saved(store, name, root, SnapshotId(0, 0))
    await store.put(keys.log_segment("beta", 1, 0), b"".join(b"line %d\n" % n for n in range(20_000)))
    await write_running(store, "busy")
    async with served(store) as site:
        page = await opened(browser, site)
        focus = "document.activeElement"
        await page.until(f"{NAME} === 'busy'")
        await page.until(f"{focus}.id === 'list'")
        await page.press("ArrowDown", "ArrowDown", "Enter")
        await page.until(f"{NAME} === 'beta' && {BADGE} === 'succeeded'")
        await page.press("g")
        await page.until(f"{LOG}.includes('line 0\\n')")
        await page.press("G")
        await page.until(f"{LOG}.includes('line 19999\\n')")
        assert await page.of(f"{focus}.matches('.pane')")
        await page.press("f")
        await page.until("document.querySelector('[role=treeitem]') !== null")
        await page.of("document.querySelector('#tab-files').focus()")
        await page.press("Tab")
        await page.until(f"{focus}.matches('.all')")
        await page.press("Tab")
        await page.until(f"{focus}.matches('[role=treeitem]')")
        await page.press("d")
        await until((browser.downloads / "folder.tar").exists, what="the folder's download", within=60)
        await page.press("ArrowRight")
        await page.until("document.querySelectorAll('[role=treeitem]').length === 2")
        await page.press("ArrowRight")
        assert "file.txt" == await page.of(f"{focus}.querySelector('.name').textContent")
        await page.press("Enter")
        await until((browser.downloads / "file.txt").exists, what="the download", within=60)
        await page.press("ArrowLeft", "ArrowLeft")
        await page.until("document.querySelectorAll('[role=treeitem]').length === 1")
        await page.press("a")
        assert "Attempts" == await page.of("document.querySelector('[role=tab][aria-selected=true]').textContent")
        await page.press("/", "a", "l")
        await page.until("document.querySelectorAll('.row:not([hidden])').length === 1")
        await page.press("Enter")
        await page.until(f"{NAME} === 'alpha'")
        await page.press("Escape")
        await page.of("location.hash = '#/busy'")
        await page.until(f"{BADGE} === 'running'")
        await page.of("document.querySelector('#list').focus()")
        await page.press("s")
        await page.until("document.querySelector('#question').open")
        await page.press("Escape")
        await page.until("!document.querySelector('#question').open")
        assert [] == site.actions.done
        await page.press("?")
        await page.until("document.querySelector('#help').open")
        assert [] == page.complaints


async def test_a_run_is_stopped_and_says_so(browser: Browser) -> None:
    """It is asked once, and seen at once that it was asked; what is refused is said in words."""
    store = memory()
    await write_running(store, "busy")
    async with served(store, ByHand(Where("memory://"), store)) as site:
        page = await opened(browser, site, "busy")
        await page.click(".act")
        await page.click("#question-yes")
        await page.until(f"{BADGE} === 'stopping'")
        cancel = records.Cancel.read(await store.get(keys.cancel("busy")))
        assert "stopped" == cancel.result
        assert cancel.message.startswith("stopped by ")
        assert "" == await page.text(".act")
        await store.delete(keys.cancel("busy"))
        await page.click(".act")
        await write_ended(store, "busy")
        await page.click("#question-yes")
        await page.until("document.querySelector('#question-error').textContent === 'busy is over'")


async def test_a_run_is_resumed(browser: Browser) -> None:
    """Where whoever started the page can: otherwise there is no button that does nothing."""
    store = memory()
    await write_ended(store, "over", result="stopped")
    async with served(store) as site, served(store, ByHand(Where("memory://"), store)) as without:
        page = await opened(browser, site, "over")
        await page.click(".act")
        await page.click("#question-yes")
        await until(lambda: site.actions.done == [("resume", "over")], what="it was asked")
        page = await opened(browser, without, "over")
        assert "" == await page.text(".act")


async def test_ten_thousand_runs_are_one_message_and_the_rows_in_sight(browser: Browser) -> None:
    """They come and are drawn once, only those in sight are elements, and to scroll and to search asks the server
    nothing and makes no more. Otherwise the page of who uses it most is the slowest."""
    store = memory()
    for number in range(10_000):
        await write_ended(store, f"run-{number:05d}", at=1e9 + number)
    async with served(store) as site, site.events():
        known = site.site.poller.board.rows
        await until(lambda: len(known) == 10_000 and all(r.state for r in known.values()), what="all known", within=60)
        page = await opened(browser, site)
        drawn = "performance.getEntriesByName('runs drawn')"
        await page.until(f"document.querySelector('#count').textContent.includes('10,000 runs') && {drawn}.length > 0")

        assert await page.of("document.querySelectorAll('.row').length") < 60
        await page.of("document.querySelector('#list').focus()")
        await page.press("End")
        await page.until(row("run-00000"))
        await page.press("/", "4", "2", "4", "2")
        await page.until(row("run-04242") + " && document.querySelectorAll('.row:not([hidden])').length < 20")
        assert await page.of("document.querySelectorAll('.row').length") < 60
        assert 1 == await page.of(f"{drawn}.length")


async def test_a_gigabyte_of_log_is_a_window(browser: Browser) -> None:
    """Its end at once, any place by the slider, and a megabyte of it in the page at most. Otherwise the tab dies of a
    verbose program."""

    class Huge(Recording):
        """128 segments of 8 MiB, made as they are asked for."""

        async def sizes(self, prefix: str) -> dict[str, int]:
            if "/attempts/" not in prefix:
                return dict(await self.store.sizes(prefix))
            return {keys.log_segment("demo", 1, number): 8 << 20 for number in range(128)}

        async def get_range(self, key: str, start: int, length: int) -> bytes:
            if (number := int(key[-6:])) >= 128:
                return bytes(await self.store.get_range(key, start, length))
            first = ((number << 23) + start) // 16
            return b"".join(b"%015d\n" % at for at in range(first, first + length // 16))

    store = Huge(memory())
    await write_ended(store, "demo")
    await put(store, keys.claim("demo", 1), claim())
    async with served(store) as site:
        page = await opened(browser, site, "demo")
        await page.until(f"{LOG}.includes('{(1 << 26) - 1:015d}')")
        for part in (0.25, 0.5, 0.75):
            await page.of(
                "(() => { const s = document.querySelector('input[type=range]');"
                f" s.value = {part} * s.max; s.dispatchEvent(new Event('input')); }})()"
            )
            await page.until(f"{LOG}.includes('{int(part * (1 << 26)) + 100:015d}')")
        await page.press("g")
        await page.until(f"{LOG}.includes('{0:015d}\\n{1:015d}')")
        for _ in range(30):
            await page.of("document.querySelector('.pane').scrollBy(0, 20000)")
        await page.until("document.querySelector('.pane').scrollTop > 100000")

        assert await page.of(f"{LOG}.length") < 1_200_000
        numbers = [int(line) for line in (await page.of(LOG)).split("\n") if line.isdigit()]
        assert list(range(numbers[0], numbers[-1] + 1)) == numbers, "no line is lost or doubled between two pieces"
        view = site.site.poller.view("demo")
        assert view.logbook._kept <= 16 << 20


async def _shows(page: Page, selector: str, words: str) -> bool:
    return words in await page.text(selector)


async def test_a_hostile_bucket_stays_text(browser: Browser, tmp_path: Path) -> None:
    """Names, messages, machines, log lines and file names that are markup, escapes and direction marks. Otherwise
    who may write one object runs scripts in the browser of everyone who looks."""
    store, root = memory(), tmp_path / "job"
    root.mkdir()
    name = "<img src=x onerror=alert(1)>"
    (root / name).write_text("x")
    (root / "txt.\u202eexe").write_text("x")
    await saved(store, "demo", root, SnapshotId(0, 0))
    await put(store, keys.claim("demo", 1), records.Claim(EVIL, "t", time.time() - 9, EVIL, EVIL, EVIL))
    await put(store, keys.hunt("demo"), records.Hunt(2, 0, time.time(), time.time(), EVIL, person=True))
    await put(
        store,
        keys.handover("demo", 1),
        records.Handover(EVIL, "error", time.time(), EVIL, 1, False, 1, None, message=EVIL),
    )
    await store.put(
        keys.log_segment("demo", 1, 0), f"{EVIL}\x1b[31m\x1b]0;title\x07\x00\u202e\n".encode() + b"\xff\xfe\n"
    )
    await store.put(keys.open_run("demo"), b"")
    async with served(store) as site:
        page = await opened(browser, site, "demo")
        await page.until(f"{LOG}.includes('alert(1)')")
        await until(lambda: _shows(page, ".sentence", EVIL), what="the sentence")
        assert f"{EVIL}␀\\u202e\n\ufffd\ufffd\n" == (await page.of(LOG))[-len(EVIL) - 11 :]
        await page.press("a")
        await until(lambda: _shows(page, ".attempts", EVIL), what="the attempts")
        await page.press("f")
        await page.until("document.querySelectorAll('.entry').length === 2")
        assert {name, r"txt.\u202eexe"} == set(
            await page.of("[...document.querySelectorAll('.entry .name')].map((e) => e.textContent)")
        )
        assert 0 == await page.of("document.querySelectorAll('img, body script, iframe, object').length")
        assert [] == page.complaints
        assert all(address.startswith(site.address) for address in page.requests)


async def test_a_connection_that_broke_is_made_again(browser: Browser) -> None:
    """By the browser itself, and what happened meanwhile is on the page. Otherwise a laptop that slept shows the
    evening before."""
    store = memory()
    await write_ended(store, "one")
    async with served(store) as site:
        page = await opened(browser, site)
        await page.until(row("one", "succeeded"))
        break_off(site)
        await write_ended(store, "two")
        await page.until(row("two", "succeeded"))


LOOKS = [(1280, False), (1280, True), (390, False), (390, True)]
# Words in sight whose contrast with what is behind them is below WCAG's AA for text of this size.
FAINT = """
(() => {
  const parts = (text) => text.match(/[\\d.]+/g).map(Number);
  const linear = (c) => (c /= 255) <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  const light = ([r, g, b]) => 0.2126 * linear(r) + 0.7152 * linear(g) + 0.0722 * linear(b);
  const ground = (e) => {
    for (; e; e = e.parentElement) {
      const colour = parts(getComputedStyle(e).backgroundColor);
      if (colour.length < 4 || colour[3] > 0) return colour;
    }
    return [255, 255, 255];
  };
  const found = new Set(), walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  for (let node; (node = walker.nextNode());) {
    const e = node.parentElement;
    if (!node.textContent.trim() || !e.checkVisibility({visibilityProperty: true}) || e.closest("svg")) continue;
    const [dark, bright] = [light(parts(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => x - y);
    const contrast = (bright + 0.05) / (dark + 0.05);
    if (contrast < 4.5) found.add(`${e.className} ${node.textContent.slice(0, 30)} ${contrast.toFixed(2)}`);
  }
  return [...found];
})()
"""


async def test_a_machine_that_died_before_the_command_started_lost_nothing(browser: Browser) -> None:
    """As the receipt says, of that attempt and of all of them. Otherwise nobody knows whether work is gone."""
    store, first = memory(), claim(at=1000.0)
    await write_running(store, "demo")
    await put(store, keys.claim("demo", 2), claim(2))
    await put(store, keys.base("demo", 2), records.Base(None, time.time(), claim(2).instance))
    await put(store, keys.claim("demo", 1), first)
    await put(store, keys.status("demo", 1), records.Status(first.instance, "restoring", 1010.0))
    await put(store, keys.death("demo", 1), records.Death(first.instance, 1020.0))
    async with served(store) as site:
        page = await opened(browser, site, "demo")
        await page.until("[...document.querySelectorAll('td')].some((td) => td.textContent === 'nothing: not started')")
        await page.until("document.querySelector('article').textContent.includes('nothing lost')")


async def test_an_attempt_that_was_told_to_go_is_ending(browser: Browser) -> None:
    """While nobody else has claimed the run, the page says so, and why. Otherwise a notice looks like work."""
    store = memory()
    await write_running(store, "told")
    now = time.time()
    ends = records.Status(claim().instance, "draining", now, gone_at=now + 100, running_since=now - 90)
    await put(store, keys.status("told", 1), ends)
    async with served(store) as site:
        page = await opened(browser, site)
        await page.until(f"{BADGE} === 'ending'")

        assert "A notice came" in await page.text(".sentence")


@pytest.mark.parametrize(("width", "dark"), LOOKS)
async def test_it_fits_and_is_read_in_any_window(browser: Browser, tmp_path: Path, width: int, dark: bool) -> None:
    """Nothing is cut off at the side, every word has contrast enough; in a narrow window list and run take turns."""
    store = memory()
    for number, result in enumerate(("succeeded", "failed", "stopped", "limit")):
        await write_ended(store, f"run-{result}-{number}", result=result)
    await write_running(store, "busy-with-a-name-of-forty-characters-xyz")
    await put(store, keys.hunt("waits"), records.Hunt(1, 0, time.time() - 9, time.time(), "no capacity in 6 pools"))
    await store.put(keys.open_run("waits"), b"")
    async with served(store) as site:
        page = await opened(browser, site, width=width, dark=dark)
        await page.until(row("waits", "waiting"))
        narrow = width < 800
        assert narrow == (await page.text("main") == "")
        for run in ("", "busy-with-a-name-of-forty-characters-xyz", "waits", "run-failed-1"):
            await page.of(f"location.hash = '{run and '#/' + run}'")
            if run:
                await page.until(f"{NAME} === {run!r} && {BADGE} !== undefined")
                assert narrow == (await page.text("#list") == "")
            await page.picture(tmp_path / f"{run or 'list'}.png")
            for tab in "lfa":
                await page.press(tab)
                assert await page.of("document.documentElement.scrollWidth <= innerWidth"), (run, tab)
                assert [] == await page.of(FAINT), (run, tab)
        if narrow:
            await page.click(".back")
            await page.until("document.querySelector('#list').checkVisibility()")
        assert [] == page.complaints


async def test_a_server_that_is_another_says_what_to_do(browser: Browser) -> None:
    """The page was left open, and `spotrelay ui` was started anew: its cookie is none there. Otherwise it says for ever
    that it tries again."""
    store = memory()
    await write_ended(store, "one")
    async with served(store) as site:
        page = await opened(browser, site)
        await page.until(row("one", "succeeded"))
        site.gate._session = "another"
        break_off(site)
        await page.until("document.querySelector('#trouble').textContent.includes('open the address')")


async def test_a_page_out_of_sight_lets_go(browser: Browser) -> None:
    """And takes up what it missed when it is looked at again. Otherwise a forgotten tab asks the store all night, and
    the seventh is never answered: a browser has six connections to a server."""
    store = memory()
    await write_ended(store, "one")
    async with served(store) as site:
        page = await opened(browser, site)
        await page.until(row("one", "succeeded"))
        hidden = "Object.defineProperty(document, 'hidden', {value: %s, configurable: true});"
        told = "document.dispatchEvent(new Event('visibilitychange'))"
        await page.of(hidden % "true" + told)
        await until(lambda: not site.site.poller._tasks, what="nobody looks", within=60)
        await write_ended(store, "two")
        await page.of(hidden % "false" + told)
        await page.until(row("two", "succeeded"))
        assert "" == await page.text("#trouble")
