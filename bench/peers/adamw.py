"""Races torch's fused AdamW and DeepSpeed's CPU Adam against ours; see the script beside this.

All update one tensor of fp32 numbers with fp32 moments, the same number of elements and threads, and
count 28 bytes an element: weight, gradient and moments read, all but the gradient written. Each
optimizer has a process of its own that keeps its tensors; they take turns, and who begins changes.
A turn is the median of some updates. The first round warms up and does not count.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys
import time

import race

BYTES = 28
UPDATES = 5
SETTINGS = {"lr": 1e-3, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
OURS = ("fp32", "hi/lo")


def serve(kind: str, elements: int, threads: int) -> None:
    """One of theirs: a line on the input is a turn."""
    import torch
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    parameter = torch.nn.Parameter(torch.randn(elements))
    parameter.grad = torch.randn(elements)
    if kind == "torch":
        optimizer = torch.optim.AdamW([parameter], fused=True, **SETTINGS)
    else:
        from deepspeed.ops.adam import DeepSpeedCPUAdam
        optimizer = DeepSpeedCPUAdam([parameter], adamw_mode=True, **SETTINGS)
    optimizer.step()  # makes the moments
    for _ in sys.stdin:
        times = []
        for _ in range(UPDATES):
            begin = time.perf_counter()
            optimizer.step()
            times.append(time.perf_counter() - begin)
        print(json.dumps({"seconds": statistics.median(times),
                          "checksum": parameter.detach()[::4096].double().sum().item()}),
              flush=True)


def ours(elements: int, threads: int) -> dict[str, tuple[float, float, float, str]]:
    """By variant: elements per second, ratio to the ceiling of the same turn, the ceiling in GB/s, and
    the checksum of the weights."""
    command = [str(race.BUILD / "KernelBench"), "adam", "--elements", str(elements), "--threads",
               str(threads), "--rounds", str(UPDATES)]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(command)}: {done.stderr}")
    found = json.loads(done.stdout)
    by_name = {entrant["name"]: entrant for entrant in found["entrants"]}
    return {name: (by_name[name]["figures"]["elements_per_s"], by_name[name]["ratio"],
                   found["ceiling"]["rate"]["median"], by_name[name]["checksum"])
            for name in by_name if by_name[name].get("ratio") is not None}


def compete(elements: int, threads: int, rounds: int) -> None:
    environment = os.environ | {"OMP_NUM_THREADS": str(threads)}
    theirs = []
    for kind, module in (("torch", "torch"), ("deepspeed", "deepspeed")):
        if subprocess.run([sys.executable, "-c", f"import {module}"], capture_output=True,
                          env=environment).returncode:
            race.say(f"adamw: {module} cannot be imported and is left out")
            continue
        theirs.append(race.Racer(kind, [
            sys.executable, __file__, "--serve", kind, "--elements", str(elements), "--threads",
            str(threads)], env=environment))
    if not theirs:
        sys.exit("adamw: nobody to race against")
    rates: dict[str, list[float]] = {}
    shares: dict[str, list[float]] = {}
    ceilings: list[float] = []
    checksums: dict[str, str] = {}
    for number in range(rounds + 1):
        turns = [*theirs, None]
        for turn in turns if number % 2 == 0 else reversed(turns):
            if turn is None:
                for name, (rate, share, ceiling, checksum) in ours(elements, threads).items():
                    if number:
                        rates.setdefault(name, []).append(rate)
                        shares.setdefault(name, []).append(share)
                    checksums[name] = checksum
                if number:
                    ceilings.append(ceiling)
            else:
                answer = turn.ask("turn")
                if number:
                    rates.setdefault(turn.name, []).append(elements / answer["seconds"])
                checksums[turn.name] = f"{answer['checksum']:.6g}"
    for racer in theirs:
        racer.end()
    names = [racer.name for racer in theirs]
    race.report(
        "adamw-race", subject=f"{elements} elements, {threads} threads", rounds=rounds,
        unit="elements/s", ceiling={"name": "triad", "gbps": race.spread(ceilings)},
        rates={name: race.spread(values) for name, values in rates.items()},
        gbps={name: BYTES * statistics.median(values) / 1e9 for name, values in rates.items()
              if name in (*names, *OURS)},
        ceiling_share={name: statistics.median(values) for name, values in shares.items()},
        ratios={our: {their: race.ratio(rates[our], rates[their]) for their in names}
                for our in rates if our not in names},
        ratio=min(race.ratio(rates["fp32"], rates[their]) for their in names),
        checksum=checksums)
    for name, values in sorted(rates.items()):
        race.say(f"{name:10} {statistics.median(values) / 1e6:8.0f} M elements/s")


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="adamw", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--elements", type=lambda text: int(float(text)), default=100_000_000)
    parser.add_argument("--threads", default="1,2", help="comma-separated; a race for each")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--serve", choices=("torch", "deepspeed"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    for threads in given.threads.split(","):
        if given.serve:
            return serve(given.serve, given.elements, int(threads))
        compete(given.elements, int(threads), given.rounds)


if __name__ == "__main__":
    main()
