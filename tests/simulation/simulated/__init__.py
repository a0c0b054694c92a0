"""Whole runs in virtual time, by seed: rows, scheduler, ledger, journal, disk and gateway, with whatever can go wrong.

`scenario` draws what a run is and what befalls it; `machine`, its `disk` and `gateway` are the outside world; `oracles`
watch, with `sending` and `resting`, keep `books` of their own, and share no code with what they watch; `world` drives
sessions, crashes and resumes until the run is done, and `judgement` is spoken then.
"""

from simulated.scenario import Scenario
from simulated.world import Told, simulate

__all__ = ["Scenario", "Told", "simulate"]
