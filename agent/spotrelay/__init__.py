"""spotrelay: a run outlives the machine it runs on.

The package imports nothing here: the launcher carries it without a wheel, and the agent pays for each import at boot.
"""

__version__ = "0.1.0"
