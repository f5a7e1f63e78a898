"""A worker that other programs leave no time says so, and rises where the system lets it."""

import subprocess
import sys
import time

import psutil
import pytest

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux alone has a priority that can starve")

WORK = """
import os, sys, time
os.sched_setaffinity(0, {cpu})
if {hog}:
    while True: pass
from napari_segnet import _priority
if {denied}:
    schedule = _priority._schedule
    _priority._schedule = lambda threads, policy: policy == os.SCHED_IDLE and schedule(threads, policy)
_priority.lower_priority()
assert (os.sched_getscheduler(0) == os.SCHED_IDLE) == {idle}
told = []
_priority.rise_when_starved(lambda: {busy}, told.append, seconds=0.3)
end = time.monotonic() + {seconds}
while time.monotonic() < end and not told:
    pass
print(os.sched_getscheduler(0), told)
"""


def start(cpu, hog=False, denied=False, busy=True, idle=True, seconds=20, **environment):
    code = WORK.format(cpu={cpu}, hog=hog, denied=denied, busy=busy, idle=idle, seconds=seconds)
    return subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        text=True,
        env={**psutil.Process().environ(), **environment},
    )


@pytest.fixture
def cpu():
    """A core that another program keeps busy."""
    number = min(psutil.Process().cpu_affinity())
    hog = start(number, hog=True)
    time.sleep(0.5)
    yield number
    hog.kill()
    hog.wait()
    hog.stdout.close()


def test_a_starving_worker_rises_where_it_may_and_says_so(cpu):
    policy, told = start(cpu).communicate(timeout=60)[0].split(" ", 1)
    # Whether a user may raise a process again is a setting of the system.
    assert ("this takes longer" if int(policy) == 0 else "this hardly gets on") in told


def test_where_it_may_not_rise_it_says_what_to_do(cpu):
    policy, told = start(cpu, denied=True).communicate(timeout=60)[0].split(" ", 1)
    assert int(policy) == 5
    assert "NAPARI_SEGNET_PRIORITY=low" in told


@pytest.mark.parametrize(
    "how", [{"busy": False}, {"NAPARI_SEGNET_PRIORITY": "low", "idle": False}], ids=["no job", "low priority"]
)
def test_nothing_is_said_where_nothing_starves(cpu, how):
    assert start(cpu, seconds=3, **how).communicate(timeout=60)[0].endswith("[]\n")
