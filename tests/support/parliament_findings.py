"""A program: a policy on standard input, parliament's findings on standard output, one JSON line each.

A process of its own, since parliament (1.6.4) asks setuptools' pkg_resources, which setuptools has dropped (82), for
the place of its own files, and leaves them open.
"""

from __future__ import annotations

import json
import sys
import types
import warnings
from importlib import resources

asked = types.ModuleType("pkg_resources")
asked.resource_filename = lambda package, name: str(resources.files(package) / name)  # type: ignore[attr-defined]
sys.modules["pkg_resources"] = asked
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import parliament

    for finding in parliament.analyze_policy_string(sys.stdin.read()).findings:
        sys.stdout.write(json.dumps([finding.issue, str(finding.detail), str(finding.location)]) + "\n")
