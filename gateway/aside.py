"""Work of milliseconds away from the event loop, in no more threads than the process has cores.

More would finish nothing sooner and take the processor from each other and from the loop: with asyncio's own pool of
six or more, replies of 2 MB took 6 to 11 % more of it. What waits for disks and networks goes to asyncio's pool.
"""

import asyncio
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from functools import cache, partial
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


async def aside(work: Callable[P, R], *arguments: P.args, **named: P.kwargs) -> R:
    """Do the work in a thread and return its result."""
    call = partial(copy_context().run, work, *arguments, **named)
    return await asyncio.get_running_loop().run_in_executor(_threads(), call)


@cache
def _threads() -> ThreadPoolExecutor:
    # Pinned to fewer cores than the machine has, a process has those; not every system can say so.
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ThreadPoolExecutor(cores, "aside")
