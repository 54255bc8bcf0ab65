"""Interleaved pairs of DeepSpeed's aio_handle and `pagoda bench swap`; see the script beside this.

Equal on both sides: size of the file, request (DeepSpeed's block) size, requests under way, O_DIRECT,
locked buffers of random data, and the footprint, the bytes of memory that requests rotate through.
DeepSpeed moves one buffer per call and waits for it, so a footprint smaller than the file takes
several calls; a footprint as large as the file is one call. Its mix is a read and a write of half a
footprint each, by two handles at once with half the depth each. Who goes first alternates; the
first pair warms up and does not count. Nobody calls fsync while the clock runs.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import race

UNITS = {"KIB": 2**10, "MIB": 2**20, "GIB": 2**30, "": 1}
LOADS = ("read", "write", "mix")


def byte_count(text: str) -> int:
    number = text.rstrip("kKmMgGiIbB")
    return int(float(number) * UNITS[text[len(number):].upper()])


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="deepspeed_aio", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="on the drive; both files are made in it and removed")
    parser.add_argument("--pairs", type=int, default=7)
    parser.add_argument("--size", type=byte_count, default=2**30, help="of the files (1GiB)")
    parser.add_argument("--request-size", type=byte_count, default=2**20, help="1MiB")
    parser.add_argument("--depth", type=int, default=32)
    parser.add_argument(
        "--footprint", default=None,
        help="comma-separated; default: the requests under way at once, and the whole file")
    parser.add_argument("--seconds", type=float, default=1.0, help="of one run of one side")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    found = parser.parse_args()
    under_way = found.request_size * found.depth
    found.footprints = (
        sorted({byte_count(text) for text in found.footprint.split(",")})
        if found.footprint else sorted({under_way, found.size}))
    if found.pairs < 1 or found.depth < 2 or found.depth % 2 or found.seconds <= 0:
        parser.error("at least one pair, an even depth, and a positive time")
    for footprint in found.footprints:
        if footprint < under_way or found.size % footprint or footprint % (2 * found.request_size):
            parser.error(
                "a footprint divides the size, is a multiple of two requests, and holds what is "
                "under way")
    return found


class DeepSpeed:
    """The op on a file of its own."""

    def __init__(self, given: argparse.Namespace) -> None:
        import torch
        from deepspeed.ops.op_builder import AsyncIOBuilder

        self.op = AsyncIOBuilder().load(verbose=False)
        self.given = given
        self.path = os.path.join(given.directory, f"deepspeed-aio-{os.getpid()}.tmp")
        self.whole = self.handle(given.depth)
        self.halves = [self.handle(given.depth // 2) for _ in range(2)]
        self.buffer = self.whole.new_cpu_locked_tensor(
            given.size, torch.empty(0, dtype=torch.uint8))
        self.buffer.random_(0, 256)
        self.check(self.whole.sync_pwrite(self.buffer, self.path, 0))

    def handle(self, depth: int):
        # Block size, depth, single submit, overlapping events, threads.
        return self.op.aio_handle(self.given.request_size, depth, False, True, 1)

    @staticmethod
    def check(result: int) -> None:
        if result != 1:
            sys.exit(f"DeepSpeed's op failed with {result}")

    def window(self, offset: int, footprint: int, load: str) -> None:
        part = self.buffer.narrow(0, 0, footprint)
        if load == "read":
            self.check(self.whole.sync_pread(part, self.path, offset))
        elif load == "write":
            self.check(self.whole.sync_pwrite(part, self.path, offset))
        else:
            reader, writer = self.halves
            half = footprint // 2
            reader.async_pread(part.narrow(0, 0, half), self.path, offset)
            writer.async_pwrite(part.narrow(0, half, half), self.path, offset + half)
            self.check(reader.wait())
            self.check(writer.wait())

    def run(self, load: str, footprint: int) -> tuple[float, float]:
        """GB/s and CPU seconds per GB of whole passes over the file."""
        moved, before, start = 0, os.times(), time.perf_counter()
        while time.perf_counter() - start < self.given.seconds:
            for offset in range(0, self.given.size, footprint):
                self.window(offset, footprint, load)
            moved += self.given.size
        elapsed, after = time.perf_counter() - start, os.times()
        if load != "read":
            self.sync()
        cpu = after.user - before.user + after.system - before.system
        return moved / elapsed / 1e9, cpu / (moved / 1e9)

    def sync(self) -> None:
        descriptor = os.open(self.path, os.O_RDWR)
        os.fdatasync(descriptor)
        os.close(descriptor)

    def close(self) -> None:
        self.whole.free_cpu_locked_tensor(self.buffer)
        os.remove(self.path)


def run_pagoda(given: argparse.Namespace, load: str, footprint: int) -> tuple[float, float]:
    """GB/s and CPU seconds per GB."""
    command = [
        os.environ["PAGODA"], "bench", "swap", "--json", "--path", given.directory, "--size",
        str(given.size), "--pattern", load, "--layout", "sequential", "--request-size",
        str(given.request_size), "--depth", str(given.depth), "--footprint", str(footprint),
        "--seconds", str(given.seconds), "--rounds", "1"]
    ended = subprocess.run(command, capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"{' '.join(command)}: {ended.stderr}")
    own = json.loads(ended.stdout)["jobs"][0]["pagoda"]
    return own["gbps"]["median"], own["cpu_seconds_per_gb"]


def duel(given: argparse.Namespace, peer: DeepSpeed, load: str, footprint: int) -> dict:
    ours, theirs = [], []
    for pair in range(given.pairs + 1):
        if pair % 2 == 0:
            our, their = run_pagoda(given, load, footprint), peer.run(load, footprint)
        else:
            their, our = peer.run(load, footprint), run_pagoda(given, load, footprint)
        if pair > 0:
            ours.append(our)
            theirs.append(their)

    def medians(side: int) -> tuple[float, float, float]:
        return (
            statistics.median(our[side] for our in ours),
            statistics.median(their[side] for their in theirs),
            statistics.median(our[side] / their[side] for our, their in zip(ours, theirs)))

    return {
        "load": load, "footprint_bytes": footprint, "pairs": given.pairs,
        "pagoda_gbps": medians(0)[0], "deepspeed_gbps": medians(0)[1], "rate_ratio": medians(0)[2],
        "pagoda_cpu_s_per_gb": medians(1)[0], "deepspeed_cpu_s_per_gb": medians(1)[1],
        "cpu_ratio": medians(1)[2]}


def main() -> int:
    given = options()
    peer = DeepSpeed(given)
    found = []
    try:
        for footprint in given.footprints:
            for load in LOADS:
                found.append(duel(given, peer, load, footprint))
                print(f"{load} through {footprint >> 20} MiB measured", file=sys.stderr)
    finally:
        peer.close()
    if given.json:
        race.report("aio-race", duels=found)
        return 0
    print(
        f"pagoda against DeepSpeed's async_io: {given.size >> 20} MiB files, requests of "
        f"{given.request_size >> 10} KiB, {given.depth} at once, {given.pairs} interleaved pairs; "
        "medians")
    print("load   footprint  pagoda GB/s  DeepSpeed GB/s  ratio  CPU s/GB: pagoda  DeepSpeed  ratio")
    for row in found:
        print(
            f"{row['load']:5}  {row['footprint_bytes'] >> 20:5} MiB  {row['pagoda_gbps']:11.2f}  "
            f"{row['deepspeed_gbps']:14.2f}  {row['rate_ratio']:5.2f}  "
            f"{row['pagoda_cpu_s_per_gb']:16.4f}  {row['deepspeed_cpu_s_per_gb']:9.4f}  "
            f"{row['cpu_ratio']:5.2f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
