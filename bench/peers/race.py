"""What the races in this folder share: processes that take turns, medians, and lines of JSON."""
import contextlib
import datetime
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
BUILD = pathlib.Path(os.environ.get("BUILD", ROOT / ".build/release"))

# Whoever is told to stop removes its files. A signal that is ignored, as SIGHUP is under nohup, stays so.
STOPS = [number for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM)
         if signal.getsignal(number) is not signal.SIG_IGN]
for stop in STOPS:
    signal.signal(stop, lambda number, _: sys.exit(128 + number))


@contextlib.contextmanager
def undisturbed():
    """While files are removed: a second signal does not leave half of them."""
    handlers = {stop: signal.signal(stop, signal.SIG_IGN) for stop in STOPS}
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


def say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def commit() -> str:
    """The commit of the sources, `+dirty` where files differ from it."""
    def git(*arguments: str) -> str:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    head = git("rev-parse", "--short=12", "HEAD")
    return (head + ("+dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
            if head else "unknown")


def vectors() -> str:
    """Of Pagoda's own loops, as `pagoda doctor` says."""
    if not os.access(BUILD / "pagoda", os.X_OK):
        return "unknown"
    done = subprocess.run([str(BUILD / "pagoda"), "doctor", "--json"], capture_output=True, text=True)
    return json.loads(done.stdout)["vectors"] if done.returncode == 0 else "unknown"


def machine() -> dict:
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    memory = pathlib.Path("/proc/meminfo").read_text().split("MemTotal:", 1)[1].split()[0]
    return {"processor": models[0] if models else "unknown",
            "cores": len(os.sched_getaffinity(0)), "memory_bytes": int(memory) * 1024,
            "kernel": os.uname().release, "vectors": vectors()}


def report(bench: str, **found) -> None:
    """One line of JSON on stdout, for a history."""
    date = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
    print(json.dumps({"bench": bench, "commit": commit(), "date": date, "machine": machine(),
                      **found}), flush=True)


def spread(values: list[float]) -> dict:
    return {"median": statistics.median(values), "low": min(values), "high": max(values)}


def ratio(ours: list[float], theirs: list[float]) -> float:
    """The median of ratios within rounds."""
    return statistics.median(our / their for our, their in zip(ours, theirs))


class Racer:
    """A process that answers each line on its input with a line of JSON."""

    def __init__(self, name: str, command: list[str], **more) -> None:
        self.name = name
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **more)

    def ask(self, line: object) -> dict:
        try:
            self.process.stdin.write(f"{line}\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            sys.exit(f"{self.name} ended with {self.process.wait()}")
        while True:
            answer = self.process.stdout.readline()
            if not answer:
                sys.exit(f"{self.name} ended with {self.process.wait()} instead of an answer")
            if answer.startswith("{"):
                return json.loads(answer)

    def end(self) -> None:
        self.process.stdin.close()
        self.process.wait()
