"""Takes turns between two timed processes, and says where and how it was measured.

The processes speak the line protocol of bench/README.md. Turns go A B A B so that whatever
else the machine does meanwhile falls on both; every figure is a median over the turns.
"""

import glob
import json
import math
import os
import platform
import statistics
import subprocess
import time
from dataclasses import dataclass

SLICE_MS = 20.0  # a turn repeats a fast run until it lasts about this long
MAX_REPEATS = 10000
IDLE_STEP_S = 0.002
IDLE_STEPS = 2  # looks in a row at which no thread ran: the process is idle
IDLE_LIMIT_S = 0.5
LEAST_ROUNDS = 5  # turns that are taken however long they last
QUIET_SPREAD = 0.05  # above this the machine was not quiet: measured again,
AGAIN = 3  # at most so many times as long


class PeerError(Exception):
    """A timed process died or answered out of protocol."""


class Peer:
    """One process that times runs when asked."""

    def __init__(self, name, command, environment=None):
        self.name = name
        self.has_shape = False
        self.how = ""  # what the program said of its shape: a kernel's name, or a reason
        variables = {**os.environ, **(environment or {})}
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True, bufsize=1, env=variables)
        kind, rest = self.read()
        if kind != "ready":
            raise PeerError(f"{name}: expected 'ready', got '{kind} {rest}'")
        self.facts = json.loads(rest)

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            raise PeerError(f"{self.name}: ended with {self.process.wait()}")
        kind, _, rest = line.strip().partition(" ")
        return kind, rest

    def ask(self, line):
        """Sends a command, returns (kind, rest) of the answer."""
        self.process.stdin.write(line + "\n")
        return self.read()

    def run(self, repeats=1):
        """Milliseconds of one run, as the mean over `repeats` back-to-back runs."""
        kind, rest = self.ask(f"run {repeats}")
        if kind != "ms":
            raise PeerError(f"{self.name}: {kind} {rest}")
        return float(rest)

    def set_shape(self, line):
        """Gives a kernel benchmark its next shape; False when it cannot do that one."""
        kind, rest = self.ask(f"shape {line}")
        if kind not in ("ok", "skip"):
            raise PeerError(f"{self.name}: {kind} {rest}")
        self.how = rest
        self.has_shape = kind == "ok"
        return self.has_shape

    def peak_rss_mb(self):
        """Largest resident memory so far."""
        with open(f"/proc/{self.process.pid}/status", encoding="utf-8") as lines:
            sizes = [line.split()[1] for line in lines if line.startswith("VmHWM:")]
        return int(sizes[0]) * 1024e-6

    def is_running(self):
        """Whether a thread is running or wants to. Their states are exact at any time; the time
        that they used is brought up to date once per clock tick only, 4 ms on many systems."""
        for path in glob.glob(f"/proc/{self.process.pid}/task/*/stat"):
            try:
                with open(path, encoding="utf-8") as file:
                    state = file.read().rpartition(")")[2].split()[0]
            except OSError:
                continue  # the thread has ended
            if state in "RD":
                return True
        return False

    def wait_until_idle(self):
        """Waits until this side's threads have stopped spinning for more work, which would take
        a core from the other side: ONNX Runtime's do so for tens of milliseconds."""
        deadline = time.monotonic() + IDLE_LIMIT_S
        idle = 0
        while idle < IDLE_STEPS and time.monotonic() < deadline:
            time.sleep(IDLE_STEP_S)
            idle = 0 if self.is_running() else idle + 1

    def close(self):
        if self.process.poll() is None:
            self.process.stdin.close()
            self.process.wait(timeout=30)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


@dataclass
class Comparison:
    """Milliseconds of every turn; turn i of `left` came directly before turn i of `right`."""

    left: list
    right: list

    @property
    def left_ms(self):
        return statistics.median(self.left)

    @property
    def right_ms(self):
        return statistics.median(self.right)

    @property
    def ratio(self):
        """How many times faster left is: the median over pairs of right / left."""
        return statistics.median(r / l for l, r in zip(self.left, self.right))

    def add(self, other):
        """Takes the turns of another comparison of the same two in as well."""
        self.left += other.left
        self.right += other.right

    def is_quiet(self):
        """Whether the turns of both sides are alike."""
        return max(spread(self.left), spread(self.right)) <= QUIET_SPREAD


def spread(milliseconds):
    """Middle half of the turns as a share of their median: how quiet the machine was."""
    if len(milliseconds) < 2:
        return 0.0
    low, middle, high = statistics.quantiles(milliseconds, n=4)
    return (high - low) / middle


def choose_repeats(*peers):
    """Runs in a turn, the same on both sides, so that the faster side's turn fills a slice."""
    fastest = min(peer.run() for peer in peers)
    return max(1, min(MAX_REPEATS, math.ceil(SLICE_MS / max(fastest, 1e-6))))


def take_turn(peer, other, repeats):
    """One untimed run brings this side's data back into the caches; then the timed ones."""
    other.wait_until_idle()
    peer.run()
    return peer.run(repeats)


def compare(left, right, rounds, warm_up, seconds=math.inf):
    """Warms both up, then takes `rounds` turns on each side, alternately; after LEAST_ROUNDS no
    more than fit into `seconds`. Where they spread too much, up to AGAIN times as many."""
    for peer in (left, right):
        peer.run(warm_up)
    repeats = choose_repeats(left, right)
    start = time.monotonic()
    turns = Comparison([], [])

    def is_done(times):
        taken = len(turns.left)
        return taken >= times * rounds or (taken >= LEAST_ROUNDS and
                                           time.monotonic() >= start + times * seconds)

    while not is_done(AGAIN) and not (is_done(1) and turns.is_quiet()):
        turns.left.append(take_turn(left, right, repeats))
        turns.right.append(take_turn(right, left, repeats))
    return turns


def measure_alone(peer, rounds, warm_up):
    """Median milliseconds of one process."""
    peer.run(warm_up)
    repeats = choose_repeats(peer)
    return statistics.median(take_turn(peer, peer, repeats) for _ in range(rounds))


def geometric_mean(values):
    return math.exp(statistics.fmean(math.log(value) for value in values))


def describe_machine():
    """What a reader must know to repeat the figures."""
    model = "unknown"
    with open("/proc/cpuinfo", encoding="utf-8") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.partition(":")[2].strip()
                break
    return {
        "cpu": model,
        "cores_usable": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "load_average_at_start": round(os.getloadavg()[0], 2),
        "date": time.strftime("%Y-%m-%d"),
    }


def print_table(head, rows, texts=1):
    """A Markdown table: the first `texts` columns left-aligned, the others, figures, right."""
    cells = [head] + [[str(cell) for cell in row] for row in rows]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    rule = ["-" * width if i < texts else "-" * (width - 1) + ":"
            for i, width in enumerate(widths)]
    for row in [cells[0], rule, *cells[1:]]:
        aligned = [cell.ljust(width) if i < texts else cell.rjust(width)
                   for i, (cell, width) in enumerate(zip(row, widths))]
        print("| " + " | ".join(aligned) + " |")


def write_json(path, content):
    """Replaces `path` by the raw rows, so that a table can be recomputed."""
    unfinished = f"{path}.part"
    with open(unfinished, "w", encoding="utf-8") as file:
        json.dump(content, file, indent=1)
        file.write("\n")
    os.replace(unfinished, path)
