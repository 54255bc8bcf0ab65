"""A training watched from outside: what it says while it runs, what it leaves, how that compares."""
import contextlib
import dataclasses
import json
import os
import pathlib
import re
import select
import shutil
import signal
import sqlite3
import subprocess
import tempfile
import time

COMPARED = {
    "metrics.jsonl": (
        "step", "loss", "aux_loss", "learning_rate", "grad_norm", "tokens", "experts_touched", "dropped",
    ),
    "evaluations.jsonl": ("step", "loss", "loss_by_task", "tokens"),
}


# Nothing here takes long, however slow the machine: what is still running then hangs.
PATIENCE = 300.0


class Failure(Exception):
    """Something that must not be."""


# What a run leaves


def results(run: pathlib.Path, store: pathlib.Path) -> dict[str, list[str]]:
    """What a run computed: lines of its files as printed, and the checksums of its records."""
    found = {}
    try:
        for name, keys in COMPARED.items():
            lines = [json.loads(line) for line in (run / name).read_text().splitlines()]
            found[name] = [json.dumps([line[key] for key in keys]) for line in lines]
        return found | {"records": records(store)}
    except (OSError, ValueError, KeyError, sqlite3.Error) as error:
        raise Failure(f"what {run} holds does not read: {error!r}") from None


def records(store: pathlib.Path) -> list[str]:
    """The checksums of every record of the last generation; the store stays as it is."""
    with tempfile.TemporaryDirectory(dir=store.parent) as copy:
        for path in store.glob("manifest.sqlite*"):
            shutil.copy(path, copy)
        with contextlib.closing(sqlite3.connect(f"{copy}/manifest.sqlite")) as manifest:
            rows = manifest.execute(
                "SELECT block, checksum_hi, checksum_lo, checksum_m, checksum_v"
                " FROM record ORDER BY block"
            ).fetchall()
    return [json.dumps(row) for row in rows]


def compare(
    reference: dict[str, list[str]], found: dict[str, list[str]], what: str
) -> None:
    for name, expected in reference.items():
        for number, (a, b) in enumerate(zip(expected, found[name]), 1):
            if a != b:
                raise Failure(f"{what}: {name}, line {number}: {b}, uninterrupted {a}")
        if len(expected) != len(found[name]) or not expected:
            raise Failure(f"{what}: {name}: {len(found[name])} lines, uninterrupted {len(expected)}")


# One process


@dataclasses.dataclass(frozen=True)
class Schedule:
    """After how many steps things happen; the last step is evaluated and committed, too."""

    steps: int
    commit_every: int
    evaluate_every: int

    def is_evaluated(self, step: int) -> bool:
        return step == self.steps or (self.evaluate_every > 0 and step % self.evaluate_every == 0)

    def last_due(self, step: int) -> int:
        """The step of the newest commit that is due by this one."""
        return step if step == self.steps else step - step % self.commit_every


class Training:
    """A start of the program. It writes to a terminal, so that it tells of every step at once."""

    def __init__(
        self, command: list[str], environment: dict[str, str], schedule: Schedule,
        files: tuple[int, ...] = (),
    ):
        self.schedule = schedule
        self.began = time.monotonic()
        self.output = ""
        self.terminal, theirs = os.openpty()
        try:
            self.process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs, env=environment,
                pass_fds=files,
            )
        finally:
            os.close(theirs)

    def listen(self, seconds: float) -> bool:
        """Takes up what is said within so many seconds; whether there may be more."""
        if not select.select([self.terminal], [], [], max(0, seconds))[0]:
            return True
        try:
            data = os.read(self.terminal, 1 << 16)
        except OSError:  # the other end is closed
            return False
        self.output += data.decode(errors="replace")
        return bool(data)

    def wait_until(self, condition) -> bool:
        """Whether the condition came to hold before the process ended."""
        while not condition():
            if time.monotonic() - self.began > PATIENCE:
                self.process.kill()
                raise Failure(f"still running after {PATIENCE:.0f} s:\n{self.output[-2000:]}")
            if not self.listen(0.01):
                return condition()
        return True

    def sleep(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0 and self.listen(left):
            pass

    def end(self, kill: bool) -> int:
        """Waits for the end, after a kill where it is wanted; the exit status, negative for signals."""
        if kill:
            self.process.send_signal(signal.SIGKILL)
        self.wait_until(lambda: False)
        os.close(self.terminal)
        return self.process.wait()

    def last(self, pattern: str) -> int | None:
        found = re.findall(pattern, self.output)
        return int(found[-1]) if found else None

    @property
    def is_open(self) -> bool:
        return "memory: " in self.output

    @property
    def step(self) -> int | None:
        return self.last(r"step (\d+)/")

    @property
    def first(self) -> int:
        """The step it began with, or would have."""
        if "is done already" in self.output:
            return self.schedule.steps + 1
        return self.last(r"continuing at step (\d+) ") or 1

    @property
    def committed(self) -> int:
        return self.last(r"generation (\d+) is durable") or self.first - 1

    @property
    def due(self) -> int | None:
        """The step whose commit is under way."""
        due = self.schedule.last_due(self.step or 0)
        return due if due > self.committed else None

    def require_continuation(self, acknowledged: int) -> int:
        """Refuses a start behind the step that was said to be committed before; returns what is now."""
        if not self.is_open:
            return acknowledged
        if self.first <= acknowledged:
            raise Failure(f"began with step {self.first}; {acknowledged} steps were committed before")
        return self.committed

    @property
    def whereabouts(self) -> tuple[str, str]:
        """What it was doing last, as a kind and in words."""
        if not self.is_open:
            return "start-up", "in start-up"
        step = self.step or self.first - 1
        evaluates = step >= self.first and self.schedule.is_evaluated(step)
        if evaluates and f"step {step}: held-out loss" not in self.output:
            return "evaluation", f"in the evaluation after step {step}"
        if due := self.due:
            return "commit", f"in the commit of step {due}"
        if step >= self.schedule.steps:
            return "end", "at the end"
        return "step", f"in step {step + 1}, begun at {self.first}"
