"""An upstream with the documented contract, for demonstrations and as the oracle of tests.

It checks keys and requests as strictly as the document words them, draws real images, serves links that expire, keeps
its own bill, and goes wrong on demand. It shares no validation, catalog or money rule with the gateway it tests.

    POST /images/generate    as documented
    GET  /files/{name}       an image by its link; 410 when the link has expired
    GET  /simulator/stats    {"calls", "open", "max_open", "outcomes": {…}, "links": {status: n}}
    GET  /simulator/bill     {"lines", "images", "cost_yuan"}: the sum of the bill
    GET  /simulator/calls    {"calls": [{"account", "body"}]}: what the last thousand calls sent, long texts by digest

Going wrong: `faults.py` (markers in the prompt) and `rules.py` (a file of rules).
"""

from gateway.simulator.app import build
from gateway.simulator.bill import BilledImage, BillLine, bill_total, read_bill
from gateway.simulator.config import SimulatorConfig
from gateway.simulator.faults import FAULTS, InvalidFault
from gateway.simulator.serving import SimulatorServer, run, server

__all__ = [
    "FAULTS",
    "BillLine",
    "BilledImage",
    "InvalidFault",
    "SimulatorConfig",
    "SimulatorServer",
    "bill_total",
    "build",
    "read_bill",
    "run",
    "server",
]
