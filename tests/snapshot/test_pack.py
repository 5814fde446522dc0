"""What a pack costs besides its bytes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from spotrelay.snapshot.pack import SLICE

# In a process and a thread of its own, as in a save: malloc keeps more for itself once somebody has freed much.
PROGRAM = """
import json, os, resource, sys, threading
from spotrelay.snapshot.pack import SLICE, Buffer

def faults():
    return resource.getrusage(resource.RUSAGE_THREAD).ru_minflt

def seal_some():
    file, buffer, taken = os.open(sys.argv[1], os.O_RDONLY), Buffer(), []
    for _ in range(5):
        before = faults()
        buffer.rewind(0)
        buffer.read(file, 0, SLICE)
        buffer.seal(lambda _: True)
        taken.append(faults() - before)
    print(json.dumps(taken))

thread = threading.Thread(target=seal_some)
thread.start()
thread.join()
"""


def test_a_pack_after_the_first_takes_no_fresh_memory(tmp_path: Path) -> None:
    """A buffer is read into, hashed, probed and sealed again and again in the pages that it has. Otherwise a save
    spends a tenth of its CPU in page faults."""
    noise = tmp_path / "noise"
    noise.write_bytes(os.urandom(SLICE))
    taken = json.loads(subprocess.check_output([sys.executable, "-c", PROGRAM, noise]))

    assert sum(taken[1:]) < 100
