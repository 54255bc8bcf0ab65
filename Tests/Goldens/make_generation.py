#!/usr/bin/env python3
"""Makes generation.json: what transformers' `generate` makes of the checkpoints in tiny/.

    pip install torch 'transformers==4.57.*' safetensors
    python make_generation.py [NAME ...]     # all, or some anew

Greedy search, and beam search with several widths and length penalties, of prompts of different
lengths: batched with padding, and checked to be the same alone. All hypotheses are kept, with their
scores. The weights are random, so the tokens that end a sequence are chosen here: those that make
hypotheses of many lengths.

Whoever compares computes in another order, so prompts with decisions too close to call are left
out: the result must stay when the logits of every step are disturbed by up to NOISE, and when all is
computed in float64.
"""
import collections
import json
import pathlib
import sys

import torch
import transformers
from transformers import AutoModelForCausalLM, AutoModelForSeq2SeqLM, LogitsProcessorList

HERE = pathlib.Path(__file__).parent
NAMES = [
    "switch-tiny", "switch-tiny-gelu", "nllb-moe-tiny", "nllb-moe-tiny-eom", "mixtral-tiny",
    "olmoe-tiny", "qwen3-moe-tiny",
]
ENCODER_DECODERS = ("switch", "nllb")
LENGTHS = [7, 20, 1, 12]
NEW_TOKENS = 12
NOISE = 1e-5
SEARCHES = [(1, 1.0, False)] + [
    (beams, penalty, False) for beams in (3, 5) for penalty in (0.6, 1.0, 1.5)
] + [(3, 1.0, True)]
# How many tokens end a sequence, and the token that a target must begin with.
ENDS = {"olmoe-tiny": 2, "nllb-moe-tiny": 2, "qwen3-moe-tiny": 3}
FORCED = {"nllb-moe-tiny": 7}
# Its stacks differ in depth, and 4.57 makes a cache for as many decoder layers as the encoder has.
WITHOUT_CACHE = {"switch-tiny-gelu"}


class Noise:
    """Adds up to NOISE to every logit."""

    def __init__(self, seed: int):
        self.random = torch.Generator().manual_seed(seed)

    def __call__(self, ids, scores):
        noise = torch.rand(scores.shape, generator=self.random, dtype=scores.dtype)
        return scores + NOISE * (2 * noise - 1)


def load(name: str, dtype=torch.float32):
    kind = AutoModelForSeq2SeqLM if name.startswith(ENCODER_DECODERS) else AutoModelForCausalLM
    model = kind.from_pretrained(HERE / "tiny" / name, dtype=dtype, attn_implementation="eager")
    model.generation_config.use_cache = name not in WITHOUT_CACHE
    return model.eval()


def generate(model, prompts, ends, search, forced=None, noise=None):
    """The hypotheses of each prompt, best first: (new tokens without the end, score)."""
    beams, penalty, early = search
    decoder_only = not model.config.is_encoder_decoder
    width = max(map(len, prompts))
    pad = model.config.pad_token_id
    ids = torch.full((len(prompts), width), pad)
    mask = torch.zeros_like(ids)
    for row, prompt in enumerate(prompts):
        place = slice(width - len(prompt), width) if decoder_only else slice(0, len(prompt))
        ids[row, place] = torch.tensor(prompt)
        mask[row, place] = 1
    settings = dict(
        max_new_tokens=NEW_TOKENS, do_sample=False, num_beams=beams, num_return_sequences=beams,
        eos_token_id=ends, pad_token_id=pad, return_dict_in_generate=True, output_scores=True)
    if beams > 1:
        settings |= dict(length_penalty=penalty, early_stopping=early)
    if forced is not None:
        settings["forced_bos_token_id"] = forced
    if noise is not None:
        settings["logits_processor"] = LogitsProcessorList([Noise(noise)])
    with torch.no_grad():
        result = model.generate(input_ids=ids, attention_mask=mask, **settings)
    start = width if decoder_only else 1
    sequences = result.sequences[:, start:].tolist()
    scores = result.sequences_scores.tolist() if beams > 1 else [None] * len(sequences)
    hypotheses = [(cut(tokens, ends), score) for tokens, score in zip(sequences, scores)]
    return [hypotheses[i:i + beams] for i in range(0, len(hypotheses), beams)]


def cut(tokens, ends):
    """What comes before the first token that ends a sequence."""
    for index, token in enumerate(tokens):
        if token in ends:
            return tokens[:index]
    return tokens


def tokens_of(results):
    return [[tokens for tokens, _ in hypotheses] for hypotheses in results]


def choose_ends(model, prompts, count, forced):
    """Those tokens of long generations that make hypotheses of the most lengths."""
    long = generate(model, prompts, [-1], (5, 1.0, False), forced)
    often = collections.Counter(
        token for result in tokens_of(long) for tokens in result for token in tokens[1:])
    pads = {model.config.pad_token_id, forced}
    candidates = [token for token, _ in often.most_common(24) if token not in pads]

    def lengths(ends):
        found = tokens_of(generate(model, prompts, ends, (3, 1.0, False), forced))
        lengths = [len(tokens) for result in found for tokens in result]
        return len(set(lengths)), -abs(lengths.count(NEW_TOKENS) - len(lengths) // 4)

    choices = [candidates[i:i + count] for i in range(len(candidates) - count + 1)]
    return max(choices, key=lengths)


def is_clear(models, prompt, ends, forced):
    """Whether no decision about a prompt is close."""
    model, exact = models
    for search in SEARCHES:
        wanted = tokens_of(generate(model, [prompt], ends, search, forced))
        others = [generate(exact, [prompt], ends, search, forced)]
        others += [generate(model, [prompt], ends, search, forced, noise) for noise in range(3)]
        if any(tokens_of(other) != wanted for other in others):
            return False
    return True


def has_ends(model, prompts, ends, forced):
    """Whether some hypotheses end by themselves, at several lengths."""
    if not ends:
        return False
    found = tokens_of(generate(model, prompts, ends, (5, 1.0, False), forced))
    return len({len(tokens) for result in found for tokens in result}) > 2


def make(name: str) -> dict:
    models = load(name), load(name, torch.float64)
    model, forced = models[0], FORCED.get(name)
    vocabulary = model.config.vocab_size
    random = torch.Generator().manual_seed(len(name))

    def prompt(length):
        return torch.randint(8, vocabulary, (length,), generator=random).tolist()

    def clear_prompt(length):
        while not is_clear(models, chosen := prompt(length), ends, forced):
            pass
        return chosen

    ends = choose_ends(model, [prompt(n) for n in LENGTHS], ENDS.get(name, 1), forced)
    prompts = [clear_prompt(length) for length in LENGTHS]
    # Where every prompt leads to tokens of its own, ends must be chosen for the prompts at hand.
    while not has_ends(model, prompts, ends, forced):
        ends, prompts = [], [prompt(length) for length in LENGTHS]
        found = choose_ends(model, prompts, ENDS.get(name, 1), forced)
        if all(is_clear(models, chosen, found, forced) for chosen in prompts):
            ends = found
    cases = []
    for search in SEARCHES:
        results = generate(model, prompts, ends, search, forced)
        alone = [generate(model, [prompt], ends, search, forced)[0] for prompt in prompts]
        assert tokens_of(results) == tokens_of(alone), (name, search)
        beams, penalty, early = search
        case = dict(beams=beams, lengthPenalty=penalty, earlyStopping=early)
        case["tokens"] = tokens_of(results)
        if beams > 1:
            case["scores"] = [[round(score, 6) for _, score in result] for result in results]
        cases.append(case)
    lengths = sorted({len(t) for case in cases for result in case["tokens"] for t in result})
    print(f"{name}: ends {ends}, lengths {lengths}", flush=True)
    return dict(
        ends=ends, forcedFirst=forced, newTokens=NEW_TOKENS, prompts=prompts, cases=cases)


def main() -> None:
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    path = HERE / "generation.json"
    result = json.loads(path.read_text()) if sys.argv[1:] else {}
    result |= {name: make(name) for name in sys.argv[1:] or NAMES}
    lines = [f' "{name}": {json.dumps(value, separators=(",", ":"))}' for name, value in result.items()]
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
