"""Races DeepSpeed's pipelined NVMe optimizer against SwapUpdateBench; see the script beside this.

Both update as many parameters with AdamW in fp32, weights and moments on the drive of the directory
with O_DIRECT, gradients in memory at the start of the step; nobody drops a cache. Theirs is ZeRO stage
3 with its optimizer's states in NVMe swap files, reads and writes pipelined, 12 buffers of one
sub-group (an eighth of the parameters); a step is the time of `step()`, which syncs nothing. Ours has
--buffers, by default as much, finds in them what the update before left there unless --cyclic, and
syncs and commits inside the time of its updates. Each round is a process of each, one after the
other, who begins changes; first updates do not count.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import tempfile
import time

import race

BUFFERS = 12


# In a process of its own: their side

def configuration(swap: str, hidden: int) -> dict:
    optimizer = {
        "device": "nvme", "nvme_path": swap, "buffer_count": BUFFERS, "pin_memory": True,
        "pipeline_read": True, "pipeline_write": True}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "steps_per_print": 10**9,
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-4}},
        "zero_optimization": {
            "stage": 3, "sub_group_size": 8 * hidden * hidden, "offload_optimizer": optimizer,
            "stage3_param_persistence_threshold": 0, "stage3_max_live_parameters": 0,
            "stage3_max_reuse_distance": 0, "stage3_prefetch_bucket_size": 0},
        "aio": {"block_size": 2**20, "queue_depth": 32, "intra_op_parallelism": 2,
                "single_submit": False, "overlap_events": True},
    }


def serve(place: str, layers: int, hidden: int, updates: int, threads: int) -> None:
    os.environ.update(
        DS_ACCELERATOR="cpu", MASTER_ADDR="127.0.0.1", RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
    os.environ.setdefault("MASTER_PORT", "29543")
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import deepspeed
    import torch

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = torch.nn.Linear(hidden, 4 * hidden, bias=False)
            self.narrow = torch.nn.Linear(4 * hidden, hidden, bias=False)

        def forward(self, x):
            return x + self.narrow(torch.nn.functional.gelu(self.wide(x)))

    torch.set_num_threads(threads)
    deepspeed.init_distributed(dist_backend="gloo")
    torch.manual_seed(0)
    model = torch.nn.Sequential(*[Block() for _ in range(layers)])
    engine = deepspeed.initialize(
        model=model, model_parameters=model.parameters(), config=configuration(place, hidden))[0]
    times, losses = [], []
    for _ in range(updates + 1):
        loss = (engine(torch.ones(1, 8, hidden)) ** 2).mean()
        engine.backward(loss)
        begin = time.perf_counter()
        engine.step()
        times.append(time.perf_counter() - begin)
        losses.append(loss.item())
    size = sum(os.path.getsize(os.path.join(folder, name))
               for folder, _, names in os.walk(place) for name in names)
    print("FOUND " + json.dumps({"seconds": times[1:], "losses": losses, "disk_bytes": size}),
          flush=True)


# The race

def their_round(given: argparse.Namespace, place: pathlib.Path) -> dict:
    swap = place / "deepspeed"
    swap.mkdir(exist_ok=True)
    try:
        done = subprocess.run(
            [sys.executable, __file__, str(swap), "--serve", "--layers", str(given.layers),
             "--hidden", str(given.hidden), "--updates", str(given.updates), "--threads",
             str(given.threads)], text=True, capture_output=True)
        lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
        if done.returncode or not lines:
            sys.exit(f"optimizer_swap: DeepSpeed failed\n{done.stderr[-2000:]}")
        return json.loads(lines[-1][len("FOUND "):])
    finally:
        shutil.rmtree(swap, ignore_errors=True)


def our_round(given: argparse.Namespace, place: pathlib.Path) -> dict:
    parameters = 8 * given.layers * given.hidden**2
    done = subprocess.run(
        [str(race.BUILD / "SwapUpdateBench"), str(place), "--parameters", str(parameters),
         "--block", str(min(given.block, parameters)), "--buffers", given.buffers, "--updates",
         str(given.updates), "--rounds", "1", "--threads", str(given.threads),
         *(["--cyclic"] if given.cyclic else [])],
        text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"optimizer_swap: SwapUpdateBench failed\n{done.stderr[-2000:]}")
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(
        prog="optimizer_swap", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="on the drive; everything in it is removed again")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--layers", type=int, default=8, help="of 8 x hidden^2 parameters")
    parser.add_argument("--hidden", type=int, default=2048)
    parser.add_argument("--updates", type=int, default=3, help="in a round, that count")
    parser.add_argument("--block", type=int, default=1048576, help="parameters of our records")
    parser.add_argument("--buffers", default="1536MiB", help="memory for our records")
    parser.add_argument("--cyclic", action="store_true", help="nothing is found in memory by us")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.serve:
        return serve(given.directory, given.layers, given.hidden, given.updates, given.threads)

    place = pathlib.Path(tempfile.mkdtemp(prefix="optimizer-", dir=given.directory))
    theirs, ours = [], []
    try:
        for number in range(given.rounds):
            turns = [lambda: theirs.append(their_round(given, place)),
                     lambda: ours.append(our_round(given, place))]
            for turn in turns if number % 2 == 0 else reversed(turns):
                turn()
            race.say(f"round {number + 1}: DeepSpeed "
                     f"{statistics.median(theirs[-1]['seconds']):.2f} s, ours "
                     f"{paged(ours[-1])['figures']['update_s']:.2f} s")
    finally:
        shutil.rmtree(place, ignore_errors=True)

    their_seconds = [statistics.median(found["seconds"]) for found in theirs]
    our_seconds = [paged(found)["figures"]["update_s"] for found in ours]
    ceilings = [found["ceiling"]["rate"]["median"] for found in ours]
    parameters = 8 * given.layers * given.hidden**2
    race.report(
        "optimizer-swap-race", subject=f"{parameters} parameters", rounds=given.rounds,
        unit="s per update", seconds={
            "deepspeed": race.spread(their_seconds), "pagoda": race.spread(our_seconds)},
        ratio=race.ratio(their_seconds, our_seconds),
        ceiling={"name": "plain reads and writes, half of each", "gbps": race.spread(ceilings)},
        gbps=statistics.median(paged(found)["rate"]["median"] for found in ours),
        ceiling_share=statistics.median(paged(found)["ratio"] for found in ours),
        commit_s=statistics.median(paged(found)["figures"]["commit_s"] for found in ours),
        read_bytes=paged(ours[0])["figures"]["read_bytes"],
        write_bytes=paged(ours[0])["figures"]["write_bytes"],
        disk_bytes={"deepspeed": theirs[0]["disk_bytes"], "pagoda": 12 * parameters},
        buffer_bytes={"deepspeed": BUFFERS * 4 * 8 * given.hidden**2, "pagoda": given.buffers},
        checksum=ours[-1]["checksum"])


def paged(found: dict) -> dict:
    return next(entrant for entrant in found["entrants"] if "ratio" in entrant)


if __name__ == "__main__":
    main()
