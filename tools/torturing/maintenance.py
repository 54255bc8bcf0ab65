"""Maintenance of a store, killed with SIGKILL before calls that change files."""
import collections
import dataclasses
import os
import pathlib
import random
import shutil
import signal
import subprocess

from training import PATIENCE, Failure, compare, results

# Of so many calls that only write bytes, some are worth a try.
REPEATED = {"pwrite64": 8, "write": 5}

# Small records, and generations enough that each command has something to do.
OPTIONS = [
    "model.num_experts=4", "model.d_model=32", "model.ffn_dim=64", "training.max_steps=20",
    "checkpoint.every=2", "evaluation.every=0", "model.decoder_gate=target_language",
]
KEPT = [2, 4, 6]
LAST = 8


@dataclasses.dataclass(frozen=True)
class Task:
    """A command that is killed; what it is given, from the directories that the store has."""

    name: str
    words: list[str]
    directories: list[str]
    # The training that goes on afterwards names these; a growing one has more of them.
    later: list[str] | None = None
    keep: int = 3


# Commands that make a run of another, or of its own experts, with their options.
SURGERY = {"prune": ["--keep", "2"], "extract": ["--task", "en"], "aggregate": []}

TWO = ["a", "b"]
THREE = ["a", "b", "c"]
TASKS = [
    Task("drain of the first directory", ["drain", "a"], TWO),
    Task("drain of the first of three", ["drain", "a"], THREE),
    Task("drain of another directory", ["drain", "b"], TWO),
    Task("compact", ["compact"], TWO),
    Task("rollback by one", ["rollback", "4"], TWO),
    Task("rollback by two", ["rollback", "2"], TWO),
    Task("snapshot", ["snapshot", "copy"], TWO),
    Task("growth by a directory", ["train"], TWO, THREE),
    Task("growth by generations", ["train"], TWO, TWO, keep=6),
    Task("experts pruned in place", ["prune"], TWO),
    Task("experts pruned into a new run", ["prune", "pruned"], TWO),
    Task("a task extracted", ["extract", "small"], TWO),
    Task("a run united with itself", ["aggregate", "both"], TWO),
]


class Maintenance:
    """Does each task in `scratch`, where the corpus is, once for every kill."""

    def __init__(
        self, program: pathlib.Path, config: pathlib.Path, environment: dict[str, str],
        scratch: pathlib.Path, chance: random.Random,
    ):
        self.program, self.config, self.environment = str(program), str(config), environment
        self.scratch, self.chance = scratch, chance
        self.library = scratch / "last_call.so"
        source = pathlib.Path(__file__).with_name("last_call.c")
        subprocess.run(["clang", "-shared", "-fPIC", "-o", self.library, source], check=True)
        self.live = scratch / "live"
        self.kills: collections.Counter[str] = collections.Counter()
        self.made: dict[str, dict[str, list[str]]] = {}

    # Commands

    def run(
        self, command: list[str], last: int | None = None, names: pathlib.Path | None = None
    ) -> tuple[int, str]:
        """Runs it, with a number of its last call, or with a file for the names of all."""
        environment = dict(self.environment)
        if last or names:
            environment["LD_PRELOAD"] = str(self.library)
        if last:
            environment["LAST_CALL"] = str(last)
        if names:
            environment["CALLS"] = str(names)
        done = subprocess.run(
            [self.program, *command], env=environment, timeout=PATIENCE, text=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        return done.returncode, done.stdout

    def must(self, command: list[str]) -> str:
        status, output = self.run(command)
        if status != 0:
            raise Failure(f"{' '.join(command[:2])}: ended with {status}:\n{output[-2000:]}")
        return output

    def training(self, directories: list[str], steps: int, keep: int = 3) -> list[str]:
        stores = [word for name in directories for word in ("--store", str(self.live / name))]
        return [
            "train", self.config, f"data.corpus={self.scratch}/corpus", *OPTIONS,
            f"checkpoint.keep={keep}", "--run", str(self.live / "run"), *stores,
            "--steps", str(steps),
        ]

    def command(self, task: Task, named: bool) -> list[str]:
        """The command of a task; with `named`, all directories are named to it."""
        verb, *words = task.words
        if verb == "train":
            return self.training(task.later or task.directories, LAST, task.keep)
        if verb in SURGERY:
            sources = ["run", "run"] if verb == "aggregate" else ["run"]
            return ["expert", verb, *[str(self.live / name) for name in sources + words], *SURGERY[verb]]
        places = [str(self.live / name) for name in task.directories]
        options = [word for place in places for word in ("--store", place)] if named else []
        words = [word if word.isdigit() else str(self.live / word) for word in words]
        return ["store", verb, places[0], *options, *words]

    # What is there

    def home(self, directories: list[str]) -> pathlib.Path:
        """The directory with the manifest."""
        for name in directories:
            if (self.live / name / "manifest.sqlite").exists():
                return self.live / name
        raise Failure(f"none of {', '.join(directories)} has a manifest")

    def computed(self, directories: list[str]) -> dict[str, list[str]]:
        """The results, but of the evaluations only that at the end: the one where the first
        training had ended is gone after going back behind it."""
        found = results(self.live / "run", self.home(directories))
        return found | {"evaluations.jsonl": found["evaluations.jsonl"][-1:]}

    def restore(self, number: int) -> None:
        """What is live becomes what the training of so many directories had left."""
        shutil.rmtree(self.live, ignore_errors=True)
        shutil.copytree(self.scratch / f"store{number}", self.live)

    def prepare(self, number: int) -> None:
        shutil.rmtree(self.live, ignore_errors=True)
        self.live.mkdir()
        self.must(self.training(THREE[:number], KEPT[-1]))
        shutil.copytree(self.live, self.scratch / f"store{number}")

    # One kill

    def calls(self, task: Task) -> list[tuple[int, str]]:
        """The calls of the task by number and name, those to be tried."""
        self.restore(len(task.directories))
        path = self.scratch / "calls"
        path.unlink(missing_ok=True)
        status, output = self.run(self.command(task, named=False), names=path)
        if status != 0:
            raise Failure(f"{task.name}: ended with {status}:\n{output[-2000:]}")
        self.check(task, f"{task.name}, uninterrupted")
        numbers: dict[str, list[int]] = collections.defaultdict(list)
        for number, name in enumerate(path.read_text().split(), 1):
            numbers[name].append(number)
        return [
            (number, name) for name, all in sorted(numbers.items())
            for number in self.chance.sample(all, min(REPEATED.get(name, len(all)), len(all)))
        ]

    def check(self, task: Task, what: str) -> None:
        """Training goes on and comes to what an uninterrupted one computes."""
        directories = task.later or task.directories
        if task.words[0] in SURGERY:
            self.check_made(task, what)
            if len(task.words) == 1:
                return
        if task.words[0] == "snapshot" and (self.live / "copy").exists():
            self.must(["store", "verify", str(self.live / "copy")])
            copied = results(self.live / "run", self.live / "copy")["records"]
            compare({"records": self.copied}, {"records": copied}, f"{what}, the copy")
        self.must(self.training(directories, LAST, task.keep))
        self.must(["store", "verify", str(self.home(directories))])
        compare(self.expected, self.computed(directories), what)

    def check_made(self, task: Task, what: str) -> None:
        """What was made of a run is trained on, each time with the same results."""
        run = self.live / ["run", *task.words[1:]][-1]
        store = run / "store" if len(task.words) > 1 else self.home(task.directories)
        self.must(["train", str(run / "config.yaml"), "--run", str(run), "--steps", str(LAST)])
        self.must(["store", "verify", str(store)])
        found = results(run, store)
        found["evaluations.jsonl"] = found["evaluations.jsonl"][-1:]
        compare(self.made.setdefault(task.name, found), found, what)

    def again(self, task: Task, named: bool) -> None:
        """The same command succeeds, or had done all that it should."""
        command = self.command(task, named)
        status, output = self.run(command)
        emptied = task.words[0] == "drain" and not os.listdir(self.live / task.words[1])
        copied = task.words[0] == "snapshot" and "a store is there already" in output
        copied |= task.words[0] in SURGERY and "exists" in output
        # An error has a status of its own, a crash of the program another one.
        if status == 0 or (64 <= status <= 78 and (emptied or copied)):
            return
        raise Failure(f"the same again ended with {status}:\n{output[-2000:]}")

    def torture(self, task: Task, number: int, name: str) -> None:
        named = self.chance.random() < 0.5
        again = task.words[0] == "snapshot" or task.words[0] in SURGERY or self.chance.random() < 0.6
        what = f"{task.name}, killed before call {number}, {name}"
        what += ", directories named" if named else ""
        what += ", the same again" if again else ", training"
        self.restore(len(task.directories))
        status, output = self.run(self.command(task, named), last=number)
        # With threads, one call more or less.
        if status == 0:
            return
        if status != -signal.SIGKILL or "error: " in output:
            raise Failure(f"{what}: ended with {status}:\n{output[-2000:]}")
        self.kills[task.name] += 1
        try:
            if again:
                self.again(task, named)
            self.check(task, what)
        except Failure as failure:
            raise Failure(f"{what}: {failure}") from None

    def all(self, share: float) -> None:
        """Every task, killed before this share of its calls."""
        for number in (2, 3):
            self.prepare(number)
        self.copied = results(self.live / "run", self.home(THREE))["records"]
        self.must(self.training(THREE, LAST))
        self.expected = self.computed(THREE)
        failures = 0
        for task in TASKS:
            calls = self.calls(task)
            for number, name in sorted(self.chance.sample(calls, max(1, round(share * len(calls))))):
                try:
                    self.torture(task, number, name)
                except Failure as failure:
                    failures += 1
                    print(f"maintenance: {failure}", flush=True)
            print(f"{self.kills[task.name]:4}  {task.name}", flush=True)
        if failures > 0:
            raise Failure(f"{failures} of {self.kills.total()} SIGKILLs in maintenance")
        print(
            f"torture: {self.kills.total()} SIGKILLs in maintenance of a store: every loss and all"
            f" {len(self.expected['records'])} records identical to the uninterrupted run's"
        )
