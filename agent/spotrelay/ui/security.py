"""Who may ask. The page shows logs and stops runs, and every web site that a person visits can send requests here.

1. Host: only the names of this computer's loopback. A site that points its own name at 127.0.0.1 (DNS rebinding) is
   told apart by nothing else. The port may be another's: `ssh -L` brings the page to a laptop.
2. Origin and Sec-Fetch-Site: whatever another site started is refused, but for opening the page itself. What changes
   something is asked by POST with JSON, which a form cannot send, and must say its origin.
3. A cookie, HttpOnly and SameSite=Strict, that only the start address gives: other users of this computer can connect,
   too. The printed address is good as long as the server runs. The one that a browser is started with works once: on
   its command line all users can read it.
4. Policies for what is shown: no script or style but ours, no frames, no guessing of types, nothing kept in a cache.
"""

from __future__ import annotations

import secrets
from urllib.parse import urlsplit

from aiohttp import web
from aiohttp.typedefs import Handler

LOOPBACK = {"127.0.0.1", "localhost", "::1"}
POLICIES = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; "
    "require-trusted-types-for 'script'; trusted-types 'none'",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}
# 200 and not a redirect: a Strict cookie is not sent along a chain that another program's link began.
ENTER = (
    "<!doctype html><html lang=en><meta charset=utf-8><meta http-equiv=refresh content='0; url=/'>"
    "<title>spotrelay</title><p><a href='/'>spotrelay</a>"
)
STRANGER = "Open the address that `spotrelay ui` printed: it lets this browser in.\n"


class Gate:
    """In front of everything. `port`: part of the cookie's name, since cookies do not tell ports apart."""

    def __init__(self, port: int) -> None:
        self._cookie, self._session = f"spotrelay-{port}", secrets.token_urlsafe(32)
        self.token = secrets.token_urlsafe(32)
        self._tickets: set[str] = set()

    def ticket(self) -> str:
        """As the token, once."""
        ticket = secrets.token_urlsafe(32)
        self._tickets.add(ticket)
        return ticket

    @web.middleware
    async def middleware(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        refusal = self._refusal(request)
        if refusal is not None:
            return refusal
        if request.path == "/" and "token" in request.query and request.method == "GET":
            return self._enter(request)
        if not _same(request.cookies.get(self._cookie, ""), self._session):
            return web.Response(status=401, text=STRANGER)
        return await handler(request)

    def _refusal(self, request: web.Request) -> web.Response | None:
        if _hostname(request.host) not in LOOPBACK:
            return web.Response(status=403, text="This page answers to 127.0.0.1 and localhost only.\n")
        origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site", "none")
        opening = (
            request.method == "GET" and request.path == "/" and request.headers.get("Sec-Fetch-Mode") == "navigate"
        )
        if (origin is not None and origin != f"http://{request.host}") or (
            site not in ("none", "same-origin") and not opening
        ):
            return web.Response(status=403, text="Another site asked for this.\n")
        if request.method not in ("GET", "HEAD") and (origin is None or request.content_type != "application/json"):
            return web.Response(status=403, text="Only the page itself may ask for this.\n")
        return None

    def _enter(self, request: web.Request) -> web.Response:
        given = request.query["token"]
        if given in self._tickets:
            self._tickets.discard(given)
        elif not _same(given, self.token):
            return web.Response(status=401, text=STRANGER)
        response = web.Response(text=ENTER, content_type="text/html")
        response.set_cookie(self._cookie, self._session, httponly=True, samesite="Strict", path="/")
        return response


async def add_policies(_: web.Request, response: web.StreamResponse) -> None:
    """A signal: answers of every kind have them, refusals too."""
    for name, value in POLICIES.items():
        response.headers.setdefault(name, value)
    response.headers.pop("Server", None)


def _same(one: str, other: str) -> bool:
    return secrets.compare_digest(one.encode("utf-8", "surrogateescape"), other.encode())


def _hostname(host: str) -> str:
    try:
        return urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return ""
