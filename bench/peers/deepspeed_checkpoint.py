"""Interleaved rounds of DeepSpeed's checkpoint and Pagoda's commit; see the script beside this.

Both train 268 million parameters in fp32 with AdamW and the state on a drive: DeepSpeed ZeRO-3 with
its optimizer in NVMe swap files (8 blocks of 2048 x 8192 and back), Pagoda a model of 268 million
with 1 GiB of memory. A round of DeepSpeed is a process that trains, saves and then waits until the
saved files are durable (DeepSpeed itself does not), and a second process that makes the engine,
loads and trains one step. A round of Pagoda is a run of CommitBench. Imports of Python are not
counted. Who goes first alternates.
"""
import argparse
import json
import os
import pathlib
import shutil
import statistics
import subprocess
import sys
import time

import race

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
LAYERS, HIDDEN, TOKENS = 8, 2048, 64
PAGODA = [
    "tools/examples/quickstart.yaml", "1GiB", "1", "3", "model.d_model=512",
    "model.ffn_dim=2048", "model.num_experts=32", "training.micro_batch_tokens=96",
    "training.gradient_accumulation_steps=1", "data.max_sequence_tokens=64",
]


# In a process of its own: one side of DeepSpeed

def environment(directory: str) -> None:
    os.environ.update(
        DS_ACCELERATOR="cpu", MASTER_ADDR="127.0.0.1", RANK="0", LOCAL_RANK="0", WORLD_SIZE="1")
    os.environ.setdefault("MASTER_PORT", "29541")
    os.environ.setdefault("OMP_NUM_THREADS", "2")


def configuration(swap: str) -> dict:
    optimizer = {"device": "nvme", "nvme_path": swap, "buffer_count": 5, "pin_memory": True}
    return {
        "train_micro_batch_size_per_gpu": 1,
        "steps_per_print": 10**9,
        "optimizer": {"type": "AdamW", "params": {"lr": 1e-4}},
        "zero_optimization": {
            "stage": 3, "sub_group_size": 8 * HIDDEN * HIDDEN, "offload_optimizer": optimizer,
            "stage3_param_persistence_threshold": 0},
        "aio": {"block_size": 2**20, "queue_depth": 32, "intra_op_parallelism": 2,
                "single_submit": False, "overlap_events": True},
    }


def engine(directory: str):
    import deepspeed
    import torch

    class Block(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.wide = torch.nn.Linear(HIDDEN, 4 * HIDDEN, bias=False)
            self.narrow = torch.nn.Linear(4 * HIDDEN, HIDDEN, bias=False)

        def forward(self, x):
            return x + self.narrow(torch.nn.functional.gelu(self.wide(x)))

    swap = os.path.join(directory, "swap")
    os.makedirs(swap, exist_ok=True)
    deepspeed.init_distributed(dist_backend="gloo")
    torch.manual_seed(0)
    model = torch.nn.Sequential(*[Block() for _ in range(LAYERS)])
    return deepspeed.initialize(
        model=model, model_parameters=model.parameters(), config=configuration(swap))[0]


def step(running) -> float:
    import torch
    x = torch.randn(1, TOKENS, HIDDEN)
    loss = (running(x) ** 2).mean()
    running.backward(loss)
    running.step()
    return loss.item()


def make_durable(directory: str) -> None:
    for folder, _, names in os.walk(directory):
        for name in names:
            with open(os.path.join(folder, name), "rb") as file:
                os.fsync(file.fileno())


def side(directory: str, what: str) -> None:
    environment(directory)
    import deepspeed  # noqa: F401: not counted
    checkpoint = os.path.join(directory, "checkpoint")
    begin = time.perf_counter()
    running = engine(directory)
    if what == "save":
        for _ in range(2):
            step(running)
        begin = time.perf_counter()
        running.save_checkpoint(checkpoint, tag="last")
        saved = time.perf_counter()
        make_durable(checkpoint)
        found = {"save": saved - begin, "durable": time.perf_counter() - begin}
    else:
        made = time.perf_counter()
        running.load_checkpoint(checkpoint, tag="last")
        loaded = time.perf_counter()
        step(running)
        found = {"load": loaded - made, "resume": loaded - begin,
                 "step": time.perf_counter() - loaded}
    print("FOUND " + json.dumps(found), flush=True)


# The race

def deepspeed_round(directory: str) -> dict:
    place = os.path.join(directory, "deepspeed")
    found: dict = {}
    try:
        for what in ("save", "load"):
            shutil.rmtree(os.path.join(place, "swap"), ignore_errors=True)
            os.makedirs(place, exist_ok=True)
            done = subprocess.run(
                [sys.executable, __file__, place, "--side", what], text=True,
                capture_output=True)
            lines = [line for line in done.stdout.splitlines() if line.startswith("FOUND ")]
            if done.returncode or not lines:
                sys.exit(f"deepspeed_checkpoint: {what} failed\n{done.stderr[-2000:]}")
            found |= json.loads(lines[-1][len("FOUND "):])
    finally:
        for name in ("swap", "checkpoint"):
            shutil.rmtree(os.path.join(place, name), ignore_errors=True)
    return found


def pagoda_round() -> dict:
    program = os.environ.get("BUILD", str(ROOT / ".build/release")) + "/CommitBench"
    done = subprocess.run([program, *PAGODA], cwd=ROOT, text=True, capture_output=True)
    if done.returncode:
        sys.exit(f"deepspeed_checkpoint: CommitBench failed\n{done.stderr[-2000:]}")
    report = json.loads(done.stdout)
    return {
        "state_bytes": report["state_bytes"], "pause": report["pause_seconds"],
        "waited": statistics.median(report["waited_seconds"]),
        "beside": report["durable_seconds"], "resume": report["resume_seconds"],
        "step": report["resumed_step_seconds"]}


def main() -> None:
    parser = argparse.ArgumentParser(prog="deepspeed_checkpoint", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", help="of DeepSpeed's files; `runs` here has Pagoda's")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--side", choices=("save", "load"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.side:
        side(given.directory, given.side)
        return
    theirs, ours = [], []
    for number in range(given.rounds):
        turns = [lambda: theirs.append(deepspeed_round(given.directory)),
                 lambda: ours.append(pagoda_round())]
        for turn in turns if number % 2 == 0 else reversed(turns):
            turn()
        race.say(json.dumps({"deepspeed": theirs[-1], "pagoda": ours[-1]}))

    def ratio(their: str, our: str, *more: str) -> float:
        return round(statistics.median(
            sum(t[name] for name in (their, *more)) / sum(o[name] for name in (our, *more))
            for t, o in zip(theirs, ours)), 1)

    race.report("checkpoint-race", rounds=given.rounds, ratios={
        "durable_against_a_commit_that_is_waited_for": ratio("durable", "waited"),
        "save_against_a_commit_that_is_waited_for": ratio("save", "waited"),
        "save_against_freeze_to_durable_beside_training": ratio("save", "beside"),
        "resume_to_the_first_step": ratio("resume", "resume"),
        "resume_to_the_end_of_the_first_step": ratio("resume", "resume", "step"),
    })


if __name__ == "__main__":
    main()
