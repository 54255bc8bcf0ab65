"""Training in a virtual machine whose power is cut, on drives with a volatile write cache."""
import collections
import os
import pathlib
import random
import shutil
import socket
import subprocess

from drive import Drive, Supply, serve
from training import Failure, Schedule, Training, compare, results

SCHEDULE = Schedule(steps=40, commit_every=2, evaluate_every=0)
# Emulated processors are slow: little to compute, and still more than fits into the budget.
OPTIONS = [
    "model.d_model=32", "model.ffn_dim=128", "training.micro_batch_tokens=64",
    "training.gradient_accumulation_steps=1", "compute.threads=1", "memory.budget=61MiB",
    f"training.max_steps={SCHEDULE.steps}", f"checkpoint.every={SCHEDULE.commit_every}",
    f"evaluation.every={SCHEDULE.evaluate_every}",
]
# Same kernels here and there, whatever either processor could do beyond AVX2.
KERNELS = {
    "PAGODA_PRODUCTS": "openblas", "OPENBLAS_CORETYPE": "Haswell", "OPENBLAS_NUM_THREADS": "1",
}
# Bytes of the sectors of each drive.
SECTORS = {"nvme0": 512, "nvme1": 4096}
DRIVE_MEBIBYTES = 192
# At most so many requests of a kind before the power fails: half of what a run makes.
MOST = {"write": 1200, "flush": 70, "forced write": 35}
MOST_SECONDS = 20.0


class PowerCuts:
    """Machines in `scratch`, where the corpus is, until their power was cut so many times."""

    def __init__(
        self, root: pathlib.Path, build: pathlib.Path, kernel: str, scratch: pathlib.Path,
        lies: bool, chance: random.Random,
    ):
        self.root, self.build, self.kernel, self.scratch = root, build, kernel, scratch
        self.lies, self.chance = lies, chance
        self.cuts: collections.Counter[str] = collections.Counter()
        self.requests: collections.Counter[str] = collections.Counter()
        self.cached = self.kept = 0

    # The machine

    def make_image(self) -> None:
        """What it boots from; nothing that it changes there lasts."""
        root = self.scratch / "root"
        root.mkdir()
        shutil.copytree(self.scratch / "corpus", root / "corpus")
        shutil.copy(self.root / "tools/vm/config.yaml", root)
        shutil.copy(self.root / "tools/torturing/job", root)
        (root / "options").write_text(" ".join(OPTIONS))
        make = [self.root / "tools/vm/image", self.scratch, self.build / "pagoda"]
        subprocess.run(make, check=True)

    def make_drives(self, supply: Supply) -> list[Drive]:
        drives = []
        for name, sector in SECTORS.items():
            medium = self.scratch / f"{name}.img"
            medium.unlink(missing_ok=True)
            with open(medium, "wb") as file:
                file.truncate(DRIVE_MEBIBYTES << 20)
            make = ["mke2fs", "-q", "-t", "ext4", "-b", "4096"]
            make += ["-E", "lazy_itable_init=0,lazy_journal_init=0", medium]
            subprocess.run(make, check=True)
            drives.append(Drive(medium, sector, supply, self.lies))
        return drives

    def boot(self, drives: list[Drive]) -> Training:
        """A machine whose second serial line is the terminal; it is served until it ends."""
        console = self.scratch / "console.log"
        command = [
            "qemu-system-x86_64", "-machine", "q35", "-accel", "tcg,thread=multi", "-cpu", "max",
            "-smp", "2", "-m", "512M", "-nodefaults", "-display", "none", "-no-reboot",
            "-kernel", self.kernel, "-initrd", str(self.scratch / "initial.cpio"),
            "-append", "console=ttyS0 panic=-1", "-serial", f"file:{console}", "-serial", "stdio",
            "-drive", f"if=none,id=root,file={self.scratch}/root.img,format=raw,snapshot=on",
            "-device", "nvme,serial=root,drive=root",
        ]
        ours, theirs = [], []
        for drive, (name, sector) in zip(drives, SECTORS.items(), strict=True):
            mine, other = socket.socketpair()
            ours.append(mine)
            theirs.append(other)
            command += [
                "-drive",
                f"if=none,id={name},format=raw,cache=writeback,file.driver=nbd,"
                f"file.server.type=fd,file.server.str={other.fileno()}",
                "-device",
                f"nvme,serial={name},drive={name},"
                f"logical_block_size={sector},physical_block_size={sector}",
            ]
        self.servers = [serve(drive, mine) for drive, mine in zip(drives, ours, strict=True)]
        files = tuple(other.fileno() for other in theirs)
        try:
            return Training(command, dict(os.environ), SCHEDULE, files)
        finally:
            for other in theirs:
                other.close()

    # A run

    def moment(self, supply: Supply) -> float | None:
        """Draws when the power fails: at a request, or after seconds, which are returned."""
        supply.fails_at = None
        kind = self.chance.choice([*MOST, "time"])
        if kind == "time":
            return self.chance.random() * MOST_SECONDS
        supply.fails_at = (kind, supply.counts[kind] + self.chance.randint(1, MOST[kind]))
        return None

    def power_up(self, drives: list[Drive], supply: Supply, cut: bool) -> tuple[Training, bool]:
        """Runs a machine until its power fails or it has done its job, and whether it has."""
        supply.is_off = False
        supply.fails_at = None
        seconds = self.moment(supply) if cut else None
        machine = self.boot(drives)
        if seconds is not None:
            machine.sleep(seconds)
        else:
            machine.wait_until(lambda: supply.is_off)
        status = machine.end(kill=seconds is not None or supply.is_off)
        for server in self.servers:
            server.join()
        return machine, status == 0

    def torture(self, number: int, most: int) -> None:
        """A run to its end, its power cut while there are cuts left."""
        supply = Supply()
        drives = self.make_drives(supply)
        acknowledged, done = 0, False
        while not done:
            machine, done = self.power_up(drives, supply, self.cuts.total() < most)
            lost = [drive.lose_power(self.chance) for drive in drives]
            cached, kept = (sum(column) for column in zip(*lost))
            self.judge(machine, done)
            acknowledged = machine.require_continuation(acknowledged)
            if not done:
                kind, words = self.whereabouts(machine)
                self.cuts[kind] += 1
                self.cached, self.kept = self.cached + cached, self.kept + kept
                print(
                    f"{self.cuts.total():4}  run {number}: {words};"
                    f" {kept >> 10} of {cached >> 10} KiB in the caches were written",
                    flush=True,
                )
        self.requests.update(supply.counts)
        for drive in drives:
            drive.close()
        compare(self.expected, self.read_drive(number), f"run {number}")

    def judge(self, machine: Training, done: bool) -> None:
        """Refuses words and endings that must not be."""
        ended = machine.last(r"ended with (\d+)")
        damage = "EXT4-fs error" in self.console or any(
            word in machine.output for word in ("error: ", "mount: ")
        )
        if damage or ended not in (None, 0) or (done and ended is None):
            tail = "\n".join(self.console.splitlines()[-15:])
            raise Failure(f"the machine said:\n{machine.output[-2000:]}\nand on its console:\n{tail}")

    @property
    def console(self) -> str:
        return (self.scratch / "console.log").read_text(errors="replace")

    def whereabouts(self, machine: Training) -> tuple[str, str]:
        if "mounted" not in machine.output:
            return "boot", "while it booted and mounted"
        if "ended with" in machine.output:
            return "shut-down", "while it shut down"
        return machine.whereabouts

    def read_drive(self, number: int) -> dict[str, list[str]]:
        """What the run left on the first drive, of which the machine took its leave."""
        medium = self.scratch / "nvme0.img"
        check = subprocess.run(["e2fsck", "-f", "-n", medium], capture_output=True, text=True)
        if check.returncode != 0:
            raise Failure(f"run {number}: the file system is damaged:\n{check.stdout}")
        copy = self.scratch / "copy"
        shutil.rmtree(copy, ignore_errors=True)
        copy.mkdir()
        subprocess.run(
            ["debugfs", "-R", f"rdump /run /store {copy}", medium], check=True, capture_output=True
        )
        return results(copy / "run", copy / "store")

    # All runs

    def uninterrupted(self) -> None:
        run, store = self.scratch / "here", self.scratch / "here.store"
        command = [self.build / "pagoda", "train", self.root / "tools/vm/config.yaml"]
        command += [f"data.corpus={self.scratch}/corpus", "--run", run, "--store", store, *OPTIONS]
        done = subprocess.run(
            command, env=dict(os.environ, **KERNELS), capture_output=True, text=True
        )
        if done.returncode != 0:
            raise Failure(f"the training here ended with {done.returncode}:\n{done.stderr[-2000:]}")
        self.expected = results(run, store)

    def all(self, cuts: int) -> None:
        self.uninterrupted()
        self.make_image()
        runs = 0
        while self.cuts.total() < cuts or runs == 0:
            runs += 1
            self.torture(runs, cuts)
        where = ", ".join(f"{count} in {kind}" for kind, count in self.cuts.most_common())
        print(f"torture: {self.cuts.total()} power cuts: {where}")
        print(
            f"torture: {self.requests['write']} writes, {self.requests['flush']} flushes,"
            f" {self.requests['forced write']} forced writes; of {self.cached >> 10} KiB in the caches"
            f" {self.kept >> 10} KiB were written"
        )
        if self.requests["flush"] == 0:
            raise Failure("no flush was asked for: these drives prove nothing")
        print(
            f"torture: {runs} runs of {SCHEDULE.steps} steps: every loss and all"
            f" {len(self.expected['records'])} records identical to the uninterrupted run's here"
        )
