"""The exchange's public market data on this machine, from candles of your own and with faults on demand: for tests."""

from fastkd.market.emulator.emulator import BybitEmulator
from fastkd.market.emulator.faults import Fault
from fastkd.market.emulator.rest_server import Request

__all__ = ["BybitEmulator", "Fault", "Request"]
