"""Training on this machine, killed with SIGKILL at random moments."""
import collections
import dataclasses
import pathlib
import random
import shutil
import signal
import time

from training import Failure, Schedule, Training, compare, results

STEPS = 120
EVALUATE_EVERY = 25
REFERENCE = Schedule(STEPS, commit_every=3, evaluate_every=EVALUATE_EVERY)


@dataclasses.dataclass(frozen=True)
class Pace:
    """Seconds that things take, of the uninterrupted run."""

    start: float
    step: float
    commit: float


def follow(training: Training) -> Pace:
    """Watches an uninterrupted run to its end."""
    training.wait_until(lambda: training.is_open)
    start = time.monotonic() - training.began
    commits = []
    while training.wait_until(lambda: training.due):
        due, shown = training.due, time.monotonic()
        training.wait_until(lambda: training.committed >= due)
        commits.append(time.monotonic() - shown)
    total = time.monotonic() - training.began - start
    return Pace(start, (total - sum(commits)) / STEPS, sorted(commits)[len(commits) // 2])


def wait_for_moment(training: Training, pace: Pace, chance: random.Random) -> None:
    """Until a random moment: of the start, of a commit, or any. Draws the same whatever happens."""
    aim, share, commits = chance.random(), chance.random(), chance.randint(1, 5)
    if aim < 0.2:
        training.sleep(share * pace.start)
    elif aim < 0.6:
        training.sleep(share * (pace.start + 20 * pace.step))
    else:
        for number in range(commits):
            if number > 0:
                training.wait_until(lambda: not training.due)
            if not training.wait_until(lambda: training.due):
                return
        training.sleep(share * 1.5 * pace.commit)


class Kills:
    """Runs in `scratch`, where the corpus is, until there were so many kills."""

    def __init__(
        self, program: list[str], environment: dict[str, str], scratch: pathlib.Path,
        engine: str | None, chance: random.Random,
    ):
        self.program, self.environment, self.scratch = program, environment, scratch
        self.engine, self.chance = engine, chance
        self.kills: collections.Counter[str] = collections.Counter()

    def start(
        self, run: pathlib.Path, stores: list[pathlib.Path], schedule: Schedule,
        options: list[str] = [], steps: int = STEPS,
    ) -> Training:
        command = self.program + ["--run", str(run), "--steps", str(steps)]
        for store in stores:
            command += ["--store", str(store)]
        command += [
            f"training.max_steps={STEPS}", f"evaluation.every={schedule.evaluate_every}",
            f"checkpoint.every={schedule.commit_every}", *options,
        ]
        return Training(command, self.environment, schedule)

    def finish(self, training: Training, kill: bool = False) -> bool:
        """Ends a start; whether it had come to its own end before."""
        status = training.end(kill)
        if status == 0 or (kill and status == -signal.SIGKILL and "error: " not in training.output):
            return status == 0
        raise Failure(f"ended with {status}:\n{training.output[-2000:]}")

    def outcomes(self, run: pathlib.Path, stores: list[pathlib.Path]) -> list[dict[str, list[str]]]:
        """The results of a run that is done, and those after one more step, which reads all of it."""
        store = stores[0] if stores else run / "store"
        done = results(run, store)
        self.finish(self.start(run, stores, REFERENCE, steps=STEPS + 1))
        return [done, results(run, store)]

    def uninterrupted(self) -> None:
        run = self.scratch / "uninterrupted"
        training = self.start(run, [], REFERENCE)
        self.pace = follow(training)
        self.finish(training)
        self.expected = self.outcomes(run, [])
        shutil.rmtree(run)
        print(
            f"torture: uninterrupted {STEPS} steps, {len(self.expected[0]['records'])} records;"
            f" start {self.pace.start * 1e3:.0f} ms, step {self.pace.step * 1e3:.0f} ms,"
            f" commit {self.pace.commit * 1e3:.0f} ms",
            flush=True,
        )

    def options(self) -> tuple[list[str], Schedule]:
        """What may change from start to start."""
        pick = self.chance.choice
        engine = pick(["automatic", "threads"])
        options = [
            f"storage.engine={self.engine or engine}",
            f"storage.io_thread={pick(['true', 'false'])}",
            f"compute.threads={pick([1, 2])}",
            f"memory.budget={pick(['64MiB', '65MiB', '72MiB'])}",
        ]
        if self.chance.random() < 1 / 6:
            options += ["--resident", "--memory", "1GiB"]
        return options, Schedule(STEPS, pick([1, 2, 3, 5]), EVALUATE_EVERY)

    def torture(self, number: int, most: int) -> None:
        """A run to its end, while there are kills left."""
        run = self.scratch / f"run{number}"
        two = [self.scratch / f"store{number}.{path}" for path in range(2)]
        stores = two[: self.chance.randint(0, 2)]
        paths = "two paths" if len(stores) == 2 else "one path"
        acknowledged, done = 0, False
        while not done:
            options, schedule = self.options()
            training = self.start(run, stores, schedule, options)
            kill = self.kills.total() < most
            try:
                if kill:
                    wait_for_moment(training, self.pace, self.chance)
                done = self.finish(training, kill)
                acknowledged = training.require_continuation(acknowledged)
            except Failure as failure:
                raise Failure(f"run {number}, {' '.join(options)}: {failure}") from None
            if not done:
                kind, words = training.whereabouts
                self.kills[kind] += 1
                print(f"{self.kills.total():4}  run {number} on {paths}: {words}", flush=True)
        for expected, found in zip(self.expected, self.outcomes(run, stores), strict=True):
            compare(expected, found, f"run {number}")
        for directory in [run, *stores]:
            shutil.rmtree(directory)

    def all(self, kills: int) -> None:
        self.uninterrupted()
        runs = 0
        while self.kills.total() < kills or runs == 0:
            runs += 1
            self.torture(runs, kills)
        where = ", ".join(f"{count} in {kind}" for kind, count in self.kills.most_common())
        print(f"torture: {self.kills.total()} SIGKILLs: {where}")
        print(
            f"torture: {runs} runs of {STEPS} steps: every loss and all"
            f" {len(self.expected[0]['records'])} records identical to the uninterrupted run's"
        )
