import os
import signal
import threading

os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("RAY_worker_niceness", "0")  # as nice ones wait for the tests beside them

import numpy as np
import pandas as pd
import pytest
import torch

from improbable import Cyclic, VAEDetector

torch.set_num_threads(1)
MOST_SECONDS_ON_A_CLUSTER = 300
SMALL = {"max_steps": 60, "hidden": (32, 32), "n_members": 2, "random_state": 0}


def mixed_table(n, seed=0):
    """Rows whose columns depend on each other, one of each kind, some cells missing."""
    rng = np.random.default_rng(seed)
    hidden = rng.normal(size=n)
    frame = pd.DataFrame(
        {
            "user": [f"u{seed}-{i}" for i in range(n)],
            "age": np.clip(40 + 12 * hidden + rng.normal(size=n), 0, 99).round().astype(int),
            "income": np.exp(10 + 0.5 * hidden + 0.3 * rng.normal(size=n)),
            "height": 170 + 8 * hidden + 2 * rng.normal(size=n),
            "sex": rng.choice(["F", "M"], n),
            "city": rng.choice(["anaheim", "boulder", "concord"], n, p=[0.5, 0.3, 0.2]),
            "member": rng.random(n) < 0.4,
            "visits": np.where(rng.random(n) < 0.5, 0, rng.poisson(4, n) + 1),
            "hour": rng.integers(0, 24, n),
            "since": pd.Timestamp("2024-01-01")
            + pd.to_timedelta(rng.integers(0, 90, n), unit="D"),
            "country": "US",
        }
    )
    frame.loc[rng.random(n) < 0.1, "income"] = np.nan
    frame.loc[rng.random(n) < 0.1, "city"] = None
    return frame


@pytest.fixture(autouse=True)
def bounded(request):
    """An error instead of a wait without end, where a test waits for other processes."""
    marker = request.node.get_closest_marker("xdist_group")
    if (
        marker is None
        or marker.args[0] != "ray"
        or threading.current_thread() is not threading.main_thread()
    ):
        yield
        return

    def give_up(*_):
        raise TimeoutError(f"No end after {MOST_SECONDS_ON_A_CLUSTER} seconds.")

    before = signal.signal(signal.SIGALRM, give_up)
    signal.setitimer(signal.ITIMER_REAL, MOST_SECONDS_ON_A_CLUSTER)
    yield
    signal.setitimer(signal.ITIMER_REAL, 0.0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def interruptible():
    """Ctrl-C as on a terminal, even where the tests were started with it ignored."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture(scope="session")
def train():
    return mixed_table(600, seed=0)


@pytest.fixture(scope="session")
def new():
    return mixed_table(120, seed=1)


@pytest.fixture(scope="session")
def detector(train):
    return VAEDetector({"hour": Cyclic(24)}, **SMALL).fit(train)


@pytest.fixture(scope="session")
def gaussian():
    """A detector of correlated Normal columns, with enough held-out rows for small p-values."""
    rng = np.random.default_rng(0)
    mix = rng.normal(size=(5, 5))
    rows = rng.normal(size=(12_000, 5)) @ mix
    fitted = VAEDetector(**SMALL, calibration_fraction=0.4).fit(rows[:6000])
    return fitted, rows[6000:]
