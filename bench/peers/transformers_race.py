"""Races transformers' training steps against ours; see the script beside this.

A checkpoint of the model's shape is written with random weights, and both load it. Our side writes
down the token ids that its steps learn from; theirs pads them to a rectangle where sequences differ
in length, with a mask. Both compute the mean cross-entropy of the labels, its gradients without
clipping, and AdamW at a constant rate; routers have no losses of their own, nothing is dropped out,
and the experts have room for every token. Loading and the first two steps of each do not count.

Theirs runs with every attention that the model has, and compiled where torch.compile works, for two
steps; the fastest of these races. Then both take turns, step by step, who begins changes. The losses
of the first steps must agree within 1e-4.
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

SHAPES = {
    "switch": {
        "model_type": "switch_transformers",
        "architectures": ["SwitchTransformersForConditionalGeneration"],
        "is_encoder_decoder": True, "tie_word_embeddings": True, "torch_dtype": "float32",
        "d_model": 768, "d_ff": 3072, "d_kv": 64, "num_heads": 12, "num_layers": 4,
        "num_decoder_layers": 4, "num_sparse_encoder_layers": 2, "num_sparse_decoder_layers": 2,
        "num_experts": 8, "expert_capacity": 4096, "router_bias": False,
        "router_dtype": "float32", "router_jitter_noise": 0.0,
        "router_ignore_padding_tokens": False, "router_z_loss_coef": 0.0,
        "router_aux_loss_coef": 0.0, "relative_attention_num_buckets": 32,
        "relative_attention_max_distance": 128, "dropout_rate": 0.0, "layer_norm_epsilon": 1e-6,
        "initializer_factor": 1.0, "dense_act_fn": "relu", "feed_forward_proj": "relu",
        "is_gated_act": False, "vocab_size": 32128, "pad_token_id": 0, "eos_token_id": 1,
        "decoder_start_token_id": 0, "use_cache": False},
    "mixtral": {
        "model_type": "mixtral", "architectures": ["MixtralForCausalLM"],
        "torch_dtype": "float32", "tie_word_embeddings": False, "hidden_size": 1024,
        "intermediate_size": 3584, "num_hidden_layers": 2, "num_attention_heads": 16,
        "num_key_value_heads": 8, "num_local_experts": 8, "num_experts_per_tok": 2,
        "router_aux_loss_coef": 0.0, "output_router_logits": False, "rope_theta": 1000000.0,
        "rms_norm_eps": 1e-5, "attention_dropout": 0.0, "sliding_window": None,
        "max_position_embeddings": 4096, "initializer_range": 0.02, "hidden_act": "silu",
        "vocab_size": 32000, "bos_token_id": 1, "eos_token_id": 2, "use_cache": False},
}
ADAM = {"lr": 1e-4, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.01}
TOLERANCE = 1e-4
# Losses of the first steps are judged: after updates, rounding gives some tokens other experts.
JUDGED = 2


def options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="transformers", description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", help="switch, mixtral; both unless given")
    parser.add_argument("--layers", type=int, help="of each stack")
    parser.add_argument("--experts", type=int)
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE",
                        help="of config.json, a JSON value, where the model has the key")
    parser.add_argument("--tokens", type=int, default=2048, help="of a batch, on each side")
    parser.add_argument("--sequence", type=int, default=256, help="tokens of a sequence")
    parser.add_argument("--steps", type=int, default=8, help="that count")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--corpus", default=str(race.ROOT / "data/quickstart"))
    parser.add_argument("--scratch", help="a directory for checkpoint and store")
    parser.add_argument("--without-compile", action="store_true", help="do not try torch.compile")
    parser.add_argument("--serve", nargs=3, metavar=("FOLDER", "BATCHES", "VARIANT"),
                        help=argparse.SUPPRESS)
    given = parser.parse_args()
    given.models = given.models or list(SHAPES)
    if unknown := set(given.models) - set(SHAPES):
        parser.error(f"unknown: {', '.join(unknown)}; known are {', '.join(SHAPES)}")
    for setting in given.set:
        if not any(setting.partition("=")[0] in SHAPES[model] for model in given.models):
            parser.error(f"--set {setting}: no model here has the key")
    if given.steps < 1:
        parser.error("at least one step counts")
    return given


# In a process of its own: their side

def padded(lists: list[list[int]], value: int):
    import torch
    width = max(len(ids) for ids in lists)
    return torch.tensor([ids + [value] * (width - len(ids)) for ids in lists])


def tensors(batch: dict, pad: int) -> dict:
    """The inputs of a batch, and its labels."""
    def masked(side: str) -> tuple:
        ids = padded(batch[side], pad)
        mask = padded([[1] * len(row) for row in batch[side]], 0)
        return ids, None if bool(mask.all()) else mask

    target, target_mask = masked("target")
    if any(batch["source"]):
        source, source_mask = masked("source")
        inputs = {"input_ids": source, "attention_mask": source_mask, "decoder_input_ids": target,
                  "decoder_attention_mask": target_mask, "output_router_logits": False}
    else:
        inputs = {"input_ids": target, "attention_mask": target_mask}
    return {"inputs": {key: value for key, value in inputs.items() if value is not None},
            "labels": padded(batch["labels"], -100)}


def serve(folder: str, batches: str, variant: str, threads: int) -> None:
    import torch
    import transformers

    torch.set_num_threads(threads)
    torch.set_flush_denormal(True)
    attention, _, compiled = variant.partition("+")
    config = transformers.AutoConfig.from_pretrained(folder)
    kind = (transformers.AutoModelForSeq2SeqLM if config.is_encoder_decoder
            else transformers.AutoModelForCausalLM)
    model = kind.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)
    model.train()
    optimizer = torch.optim.AdamW(model.parameters(), fused=True, **ADAM)
    prepared = [tensors(batch, config.pad_token_id or 0)
                for batch in json.loads(pathlib.Path(batches).read_text())]
    forward = torch.compile(model) if compiled else model
    for number, _ in enumerate(sys.stdin):
        batch = prepared[number]
        begin = time.perf_counter()
        logits = forward(**batch["inputs"], use_cache=False).logits
        loss = torch.nn.functional.cross_entropy(logits.flatten(0, 1), batch["labels"].flatten())
        loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        print(json.dumps({"seconds": time.perf_counter() - begin, "loss": loss.item()}),
              flush=True)


# Preparing

def run(*command: str) -> str:
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))}: {(done.stderr or done.stdout)[-2000:]}")
    return done.stdout


def shape(model: str, given: argparse.Namespace) -> dict:
    config = dict(SHAPES[model])
    if given.layers:
        keys = (("num_layers", "num_decoder_layers") if model == "switch"
                else ("num_hidden_layers",))
        config |= {key: given.layers for key in keys}
        if model == "switch":
            config |= {f"num_sparse_{side}_layers": max(1, given.layers // 2)
                       for side in ("encoder", "decoder")}
    if given.experts:
        config["num_experts" if model == "switch" else "num_local_experts"] = given.experts
    for setting in given.set:
        key, _, value = setting.partition("=")
        if key in config:
            config[key] = json.loads(value)
    return config


def prepare(model: str, given: argparse.Namespace, place: pathlib.Path) -> list[str]:
    """Writes the checkpoint, the text and the run; the command of our side."""
    (place / "config.json").write_text(json.dumps(shape(model, given)))
    run(race.BUILD / "Synthesize", "--config", place / "config.json", place / "model",
        "--corpus", given.corpus, "--dtype", "fp32", "--threads", given.threads)
    text = place / "text.txt"
    documents(given, text)
    run(race.BUILD / "pagoda", "import", place / "model", place / "run", "--memory",
        f"{memory_bytes()}", f"data.corpus={text}", "data.format=text", "data.held_out=0",
        f"data.max_sequence_tokens={given.sequence}", "model.weights=fp32", "model.aux=none",
        f"training.micro_batch_tokens={given.tokens}", "training.gradient_accumulation_steps=1",
        "training.clip=none", f"training.learning_rate={ADAM['lr']}",
        "training.lr_scheduler_type=constant", "training.warmup_steps=0",
        f"training.adam_beta1={ADAM['betas'][0]}", f"training.adam_beta2={ADAM['betas'][1]}",
        f"training.weight_decay={ADAM['weight_decay']}", f"compute.threads={given.threads}")
    return [str(race.BUILD / "StepBench"), str(place / "run"), "memory.resident=true",
            f"memory.budget={memory_bytes()}"]


def memory_bytes() -> int:
    return race.machine()["memory_bytes"]


def documents(given: argparse.Namespace, path: pathlib.Path) -> None:
    """Text enough for all steps, from the prepared corpus, in long documents."""
    pairs = path.with_suffix(".jsonl")
    run(race.BUILD / "pagoda", "corpus", "pairs", given.corpus, pairs)
    needed, lines = given.tokens * (given.steps + 6) * 8, []
    with pairs.open() as file:
        for line in file:
            lines.append(json.loads(line)["target"].replace("\n", " "))
            needed -= len(lines[-1].encode())
            if needed < 0:
                break
    # A document is a few sequences long.
    size = max(1, len(lines) * given.sequence // max(1, given.tokens * (given.steps + 6)) * 4)
    path.write_text("\n".join(
        " ".join(lines[first:first + size]) for first in range(0, len(lines), size)) + "\n")
    pairs.unlink()


# The race

def start(given: argparse.Namespace, place: pathlib.Path, variant: str) -> race.Racer:
    return race.Racer(f"transformers, {variant}", [
        sys.executable, __file__, "--threads", str(given.threads), "--serve",
        str(place / "model"), str(place / "batches.json"), variant],
        env=os.environ | {"OMP_NUM_THREADS": str(given.threads)},
        stderr=(place / f"{variant}.log").open("w"))


def fastest(given: argparse.Namespace, place: pathlib.Path) -> tuple[str, dict[str, float]]:
    """The variant of theirs whose third and fourth step are the shortest, and those of all."""
    variants = ["eager", "sdpa"]
    if not given.without_compile:
        variants += ["eager+compile", "sdpa+compile"]
    found: dict[str, float] = {}
    for variant in variants:
        racer = start(given, place, variant)
        try:
            seconds = [racer.ask("step")["seconds"] for _ in range(4)]
        except SystemExit as failure:
            race.say(f"transformers: {variant} does not work: {failure}; "
                     + last_line(place / f"{variant}.log"))
            continue
        racer.end()
        found[variant] = min(seconds[2:])
        race.say(f"transformers: {variant}: {found[variant]:.2f} s a step")
    if not found:
        sys.exit("transformers: no variant of theirs works")
    return min(found, key=found.get), found


def last_line(path: pathlib.Path) -> str:
    lines = path.read_text().strip().splitlines()
    return lines[-1][:300] if lines else ""


def compete(model: str, given: argparse.Namespace, place: pathlib.Path) -> bool:
    command = prepare(model, given, place)
    batches = place / "batches.json"
    ours = race.Racer(
        "StepBench", [*command, "--batches", str(batches), "--steps", str(given.steps + 4)])
    # Opened and written when it has answered once.
    first = ours.ask(1)
    variant, tried = fastest(given, place)
    theirs = start(given, place, variant)
    our_losses, their_losses = list(first["losses"]), [theirs.ask("step")["loss"]]
    our_seconds: list[float] = []
    their_seconds: list[float] = []
    last: dict = {}
    for number in range(given.steps + 1):
        def our_turn() -> None:
            answer = ours.ask(1)
            our_losses.extend(answer["losses"])
            our_seconds.extend(answer["seconds"])
            last.update(answer)

        def their_turn() -> None:
            answer = theirs.ask("step")
            their_losses.append(answer["loss"])
            their_seconds.append(answer["seconds"])

        for turn in (our_turn, their_turn) if number % 2 else (their_turn, our_turn):
            turn()
    ours.end()
    theirs.end()
    # The second step does not count either.
    our_seconds, their_seconds = our_seconds[1:], their_seconds[1:]
    tokens = [sum(map(len, batch["source"])) + sum(map(len, batch["target"]))
              for batch in json.loads(batches.read_text())]
    counted = tokens[2:2 + given.steps]
    padding = 1 - sum(tokens) / sum(
        len(batch[side]) * max(map(len, batch[side]), default=0)
        for batch in json.loads(batches.read_text()) for side in ("source", "target"))
    apart = [abs(a - b) for a, b in zip(our_losses, their_losses)]
    agrees = max(apart[:JUDGED]) <= TOLERANCE
    our_rates = [count / seconds for count, seconds in zip(counted, our_seconds)]
    their_rates = [count / seconds for count, seconds in zip(counted, their_seconds)]
    race.report(
        "transformers-race", subject=f"{model}: {json.dumps(shape(model, given))}",
        rounds=given.steps, unit="tokens/s", threads=given.threads,
        tokens=statistics.median(counted), padding_share=padding, rates={
            "pagoda": race.spread(our_rates), f"transformers, {variant}": race.spread(their_rates)},
        ratio=race.ratio(our_rates, their_rates), their_step_s=tried, losses={
            "pagoda": our_losses, "transformers": their_losses},
        loss_difference_max=max(apart[:JUDGED]), agrees=agrees, checksum=last["checksum"],
        ceiling=None)
    race.say(f"{model}: pagoda {statistics.median(our_rates):.0f}, transformers ({variant}) "
             f"{statistics.median(their_rates):.0f} tokens/s, ratio "
             f"{race.ratio(our_rates, their_rates):.2f}; losses within {max(apart[:JUDGED]):.1e}")
    return agrees


def main() -> int:
    given = options()
    if given.serve:
        serve(*given.serve, given.threads)
        return 0
    agrees = True
    for model in given.models:
        place = pathlib.Path(tempfile.mkdtemp(prefix="race-", dir=given.scratch))
        try:
            agrees &= compete(model, given, place)
        finally:
            shutil.rmtree(place, ignore_errors=True)
    return 0 if agrees else 1


if __name__ == "__main__":
    sys.exit(main())
