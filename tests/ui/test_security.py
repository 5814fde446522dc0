"""Who is let in: the page that this computer opened, and nobody else, whatever they send."""

from __future__ import annotations

from collections.abc import AsyncIterator

import aiohttp
import pytest

from spotrelay.ui.security import POLICIES
from support.served import JSON, Served, served
from support.stores import RUN, Recording, memory


@pytest.fixture
async def page() -> AsyncIterator[Served]:
    async with served(Recording(memory())) as page:
        yield page


DOORS = ("/", "/static/main.js", "/api/place", "/api/events", f"/api/runs/{RUN}/log/1", f"/api/runs/{RUN}/folder")


@pytest.mark.parametrize("path", DOORS)
async def test_without_the_cookie_there_is_nothing(page: Served, path: str) -> None:
    """Any user of this computer can connect to its loopback. Otherwise he reads another's logs."""
    async with page.stranger.get(page.address + path) as answer:
        assert 401 == answer.status
        assert RUN not in await answer.text()


@pytest.mark.parametrize("token", ["", "x", "\N{SNOWMAN}", "%00", "x" * 5000])
async def test_a_wrong_token_opens_nothing(page: Served, token: str) -> None:
    async with page.stranger.get(f"{page.address}/?token={token}") as answer:
        assert 401 == answer.status
        assert "Set-Cookie" not in answer.headers


async def test_the_start_address_lets_a_browser_in(page: Served) -> None:
    """By a cookie that no script reads and no other site's request carries; the token leaves the address line."""
    async with page.stranger.get(page.start) as answer:
        cookie = answer.headers["Set-Cookie"]
        assert {"HttpOnly", "SameSite=Strict", "Path=/"} <= set(cookie.split("; "))
        assert page.gate.token not in cookie + await answer.text()
    async with page.stranger.get(page.address + "/") as answer:
        assert 200 == answer.status


async def test_the_token_is_good_for_the_start_alone(page: Served) -> None:
    """Otherwise a link to the API with a token in it is as good as a password, and ends in somebody's history."""
    async with page.stranger.get(f"{page.address}/api/place?token={page.gate.token}") as answer:
        assert 401 == answer.status


async def test_a_ticket_works_once(page: Served) -> None:
    """It stands on the browser's command line, where all users read it. Otherwise they come in after its owner."""
    ticket = page.gate.ticket()
    for status in (200, 401):
        async with aiohttp.ClientSession() as client, client.get(f"{page.address}/?token={ticket}") as answer:
            assert status == answer.status


@pytest.mark.parametrize(
    "host", ["evil.example", "127.0.0.1.evil.example", "localhost.evil.example:8477", "[::1", "0.0.0.0"]
)
async def test_a_name_that_points_here_is_not_ours(page: Served, host: str) -> None:
    """DNS rebinding: a site's own name leads to 127.0.0.1, and its scripts are of our origin then; with the cookie."""
    assert 403 == (await page.ask("/", headers={"Host": host}))[0]
    assert 403 == (await page.ask("/api/place", headers={"Host": host, "Origin": f"http://{host}"}))[0]


@pytest.mark.parametrize("host", ["localhost:9999", "127.0.0.1", "[::1]:80"])
async def test_a_forwarded_port_is_ours(page: Served, host: str) -> None:
    """`ssh -L 9999:127.0.0.1:8477`: the name counts, the port is the tunnel's."""
    assert 200 == (await page.ask("/api/place", headers={"Host": host}))[0]


FOREIGN = [
    {"Origin": "https://evil.example"},
    {"Origin": "null"},
    {"Origin": "http://127.0.0.1:1"},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "cors"},
]


@pytest.mark.parametrize("headers", FOREIGN)
async def test_what_another_site_began_is_refused(page: Served, headers: dict[str, str]) -> None:
    """Reading and changing alike, though the browser sent our cookie along."""
    assert 403 == (await page.ask("/api/place", headers=headers))[0]
    assert 403 == await page.post(f"/api/runs/{RUN}/stop", **headers)
    assert [] == page.actions.done


async def test_a_link_elsewhere_may_open_the_page(page: Served) -> None:
    """From a chat, a terminal in the browser, a bookmark. It shows the page, and carries nothing."""
    link = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    async with page.stranger.get(page.start, headers=link) as answer:
        assert 200 == answer.status
    assert 403 == (await page.ask("/api/place", headers=link))[0]


async def test_a_get_changes_nothing(page: Served) -> None:
    """An <img> can send one from anywhere. Otherwise an advertisement stops a run."""
    for action in ("stop", "resume"):
        for method in ("GET", "HEAD"):
            assert 405 == (await page.ask(f"/api/runs/{RUN}/{action}", method))[0]
    store = page.site.poller._store
    for path in DOORS[:3] + DOORS[4:]:
        await page.ask(path)

    assert [] == page.actions.done
    assert isinstance(store, Recording)
    assert [] == store.written()


@pytest.mark.parametrize("kind", ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data"])
async def test_a_form_changes_nothing(page: Served, kind: str) -> None:
    """The three kinds that a form can send without being asked first, even with an origin like ours."""
    headers = {"Origin": page.address, "Content-Type": kind}
    status, _, _ = await page.ask(f"/api/runs/{RUN}/stop", "POST", data="{}", headers=headers)

    assert (403, []) == (status, page.actions.done)


async def test_no_origin_changes_nothing(page: Served) -> None:
    """A browser always says it. What does not is no page of ours."""
    status, _, _ = await page.ask(f"/api/runs/{RUN}/stop", "POST", data="{}", headers=JSON)

    assert (403, []) == (status, page.actions.done)


async def test_the_page_itself_may_ask(page: Served) -> None:
    """Otherwise all of this is safe because nothing works."""
    assert 200 == await page.post(f"/api/runs/{RUN}/stop")
    assert 200 == await page.post(f"/api/runs/{RUN}/resume")
    assert [("stop", RUN), ("resume", RUN)] == page.actions.done


async def test_a_refusal_is_said_in_words(page: Served) -> None:
    page.actions.over.add(RUN)
    headers = {"Origin": page.address, **JSON}
    status, body, _ = await page.ask(f"/api/runs/{RUN}/stop", "POST", data="{}", headers=headers)

    assert 409 == status
    assert b'{"what": "demo is over", "next_step": "look at it"}' == body


@pytest.mark.parametrize("path", [*DOORS[:3], DOORS[4], "/nothing", "/static/../server.py", "/static/%2e%2e/server.py"])
async def test_every_answer_has_the_policies(page: Served, path: str) -> None:
    """Refusals and errors too, which show what was asked for: one that a browser takes for a page is enough."""
    status, _, headers = await page.ask(path)

    assert POLICIES == {name: headers.get(name) for name in POLICIES}
    assert "Server" not in headers
    assert (status == 404) == (path not in DOORS[:3])


async def test_the_policy_has_no_way_around_it() -> None:
    """No inline script or style, no eval, no other place."""
    policy = POLICIES["Content-Security-Policy"]

    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert "http" not in policy


async def test_the_page_asks_for_nothing_elsewhere() -> None:
    """It works offline, and tells nobody that it is open: there is no address in any of its files but its own."""
    from spotrelay.ui.server import STATIC

    for path in STATIC.iterdir():
        text = path.read_text().replace('"http://www.w3.org/2000/svg"', "")
        assert "://" not in text, path.name
        for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", " style=", "onclick="):
            assert way not in text, (path.name, way)
