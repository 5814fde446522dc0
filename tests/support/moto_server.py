"""moto over HTTP, with two images and nothing left in it of other tests, and with change sets that do what they say."""

from __future__ import annotations

import urllib.request
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

from moto.server import ThreadedMotoServer

from support.change_sets import truthful_change_sets
from support.images import make_images, none_of_amazons


@contextmanager
def moto_server() -> Iterator[str]:
    """Its endpoint. Its state is the process's: two at a time would share it."""
    server = ThreadedMotoServer("127.0.0.1", 0, verbose=False)
    with none_of_amazons(), truthful_change_sets(), warnings.catch_warnings():
        # What moto drops of a template, it says by a warning. Who uses a stack in it has to know anyway.
        warnings.filterwarnings("ignore", "Tried to parse .* not supported by moto")
        server.start()
        host, port = server.get_host_and_port()
        endpoint = f"http://{host}:{port}"
        urllib.request.urlopen(urllib.request.Request(f"{endpoint}/moto-api/reset", method="POST")).close()
        make_images()
        try:
            yield endpoint
        finally:
            server.stop()
