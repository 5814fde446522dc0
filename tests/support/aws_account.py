"""An AWS account on loopback: moto's server, behind a front that refuses or rewrites what a test names.

The code under test is not touched: it speaks to an endpoint, by AWS_ENDPOINT_URL, as it does to AWS.
"""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Thread
from typing import Any
from urllib.parse import parse_qs
from xml.sax.saxutils import escape

from moto.core.models import DEFAULT_ACCOUNT_ID
from moto.ec2.models import ec2_backends
from moto.moto_api._internal import moto_api_backend
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from moto.server import MotoRequestHandler
from werkzeug.serving import make_server

from support.change_sets import truthful_change_sets

REGION = "us-east-1"
ACCOUNT = DEFAULT_ACCOUNT_ID
IMAGE = "ami-12c6146b"  # one of moto's own: x86_64


def image_for(architecture: str) -> str:
    return next(each.id for each in ec2_backends[ACCOUNT][REGION].amis.values() if each.architecture == architecture)


@dataclass(frozen=True)
class Refusal:
    code: str
    message: str
    status: int


@dataclass
class Front:
    """`refusals`: by action, or a method and a path's beginning. `asked`: every action, in order.

    `rewrites` change what moto answers, `answers` stand for it.
    """

    endpoint: str = ""
    refusals: dict[str, Refusal] = field(default_factory=dict)
    rewrites: dict[str, Callable[[str], str]] = field(default_factory=dict)
    answers: dict[str, str] = field(default_factory=dict)
    asked: list[str] = field(default_factory=list)

    def refuse(self, action: str, code: str, message: str = "no", status: int = 400) -> None:
        self.refusals[action] = Refusal(code, message, status)

    def answer(self, app: Any, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        action = self._action(environ)
        self.asked.append(action)
        if refusal := next((found for name, found in self.refusals.items() if action.startswith(name)), None):
            said = f"<Code>{refusal.code}</Code><Message>{escape(refusal.message)}</Message>"
            wrap = (
                "<Response><Errors><Error>{}</Error></Errors></Response>"
                if "ec2" in self._host(environ)
                else ("<ErrorResponse><Error>{}</Error></ErrorResponse>")
            )
            start(f"{refusal.status} no", [("Content-Type", "text/xml")])
            return [wrap.format(said).encode()]
        if action in self.answers:
            start("200 OK", [("Content-Type", "text/xml")])
            return [self.answers[action].encode()]
        if action not in self.rewrites:
            return app(environ, start)  # type: ignore[no-any-return]
        return self._rewritten(action, app, environ, start)

    def _rewritten(self, action: str, app: Any, environ: dict[str, Any], start: Callable[..., Any]) -> Iterable[bytes]:
        begun: list[Any] = []
        body = b"".join(app(environ, lambda status, headers, *rest: begun.append((status, headers))))
        changed = self.rewrites[action](body.decode()).encode()
        status, headers = begun[0]
        start(status, [(k, v) for k, v in headers if k.lower() != "content-length"])
        return [changed]

    @staticmethod
    def _host(environ: dict[str, Any]) -> str:
        return str(environ.get("HTTP_AUTHORIZATION", ""))

    @staticmethod
    def _action(environ: dict[str, Any]) -> str:
        body = environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        environ["wsgi.input"] = io.BytesIO(body)
        if "form-urlencoded" in environ.get("CONTENT_TYPE", ""):
            return parse_qs(body.decode()).get("Action", [""])[0]
        target = environ.get("HTTP_X_AMZ_TARGET", "")
        return target.rpartition(".")[2] or f"{environ['REQUEST_METHOD']} {environ['PATH_INFO']}"


@contextmanager
def account() -> Iterator[Front]:
    """One at a time in a process: moto's state is the process's own. Empty at first."""
    for chatty in ("werkzeug", "moto"):
        logging.getLogger(chatty).setLevel(logging.ERROR)
    moto_api_backend.reset()
    front, app = Front(), DomainDispatcherApplication(create_backend_app)
    server = make_server(
        "127.0.0.1",
        0,
        lambda environ, start: front.answer(app, environ, start),
        threaded=True,
        request_handler=MotoRequestHandler,
    )
    thread = Thread(target=server.serve_forever, daemon=True)
    front.endpoint = f"http://127.0.0.1:{server.server_port}"
    try:
        with truthful_change_sets(), warnings.catch_warnings():
            # Types that moto leaves out: tests/stack/test_template.py holds them to the template.
            warnings.filterwarnings("ignore", "Tried to parse AWS::", UserWarning)
            thread.start()
            yield front
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        moto_api_backend.reset()


def environment(endpoint: str) -> dict[str, str]:
    """For a process that is to see this account, and nothing of the person's own."""
    return {
        "AWS_ENDPOINT_URL": endpoint,
        "AWS_ACCESS_KEY_ID": "AKIAIOSFODNN7EXAMPLE",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": "/dev/null",
        "AWS_SHARED_CREDENTIALS_FILE": "/dev/null",
        "AWS_EC2_METADATA_DISABLED": "true",
        "MOTO_EC2_LOAD_DEFAULT_AMIS": "true",
    }
