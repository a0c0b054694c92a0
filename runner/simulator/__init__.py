"""The local gateway: a faithful stand-in for the Neon AI Gateway and the limits behind it, on a loopback port.

    async with await start(Simulator(latency=0.1), catalogue) as simulator:
        ...  # point any client at simulator.url
        print(simulator.meter())

It decides by itself whether limits were kept: its limiter shares no code with the runner's.
"""

from runner.simulator.behaviour import Lognormal
from runner.simulator.config import Neighbour, Simulator
from runner.simulator.server import RunningSimulator, serve, start

__all__ = ["Lognormal", "Neighbour", "RunningSimulator", "Simulator", "serve", "start"]
