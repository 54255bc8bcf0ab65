#!/usr/bin/env python3
"""Writes `variants/NAME`: small checkpoints of configurations that the published models do not have
but transformers computes, in the form of `tiny/NAME`, with what it computes of them.

    python make_variants.py [NAME ...]

Weights and batches come from numpy's PCG64, a stream for each tensor, so they do not depend on the
initialisers of torch and transformers. A seed is taken only when no choice of an expert is near a
tie and when AdamW in float64 has the losses of float32: then another order of sums does not matter.

Known to work: torch 2.15, transformers 4.57.6, numpy 2. transformers 5 computes NLLB-MoE otherwise.
"""
import json
import os
import sys
import zlib

import numpy as np
import torch
import transformers
from safetensors.torch import save_file
from torch.nn import functional as F

torch.set_num_threads(1)
transformers.logging.set_verbosity_error()

MARGIN = 0.01
ADAMW = dict(lr=3e-3, betas=(0.9, 0.95), eps=1e-8)
DECAY = 0.1

SWITCH = dict(
    vocab_size=40, d_model=16, d_kv=4, d_ff=24, num_heads=4, num_layers=2, num_decoder_layers=2,
    num_sparse_encoder_layers=1, num_sparse_decoder_layers=1, num_experts=4, expert_capacity=4,
    router_jitter_noise=0.0, dropout_rate=0.0, router_z_loss_coef=0.001, router_aux_loss_coef=0.01,
    pad_token_id=0, eos_token_id=1, decoder_start_token_id=0)
NLLB = dict(
    vocab_size=40, max_position_embeddings=32, d_model=16, encoder_layers=2, decoder_layers=2,
    encoder_ffn_dim=24, decoder_ffn_dim=24, encoder_attention_heads=2, decoder_attention_heads=2,
    encoder_layerdrop=0.0, decoder_layerdrop=0.0, dropout=0.0, attention_dropout=0.0,
    activation_dropout=0.0, moe_token_dropout=0.0, num_experts=4, encoder_sparse_step=2,
    decoder_sparse_step=2, expert_capacity=4, pad_token_id=1, bos_token_id=0, eos_token_id=2,
    decoder_start_token_id=2)
MIXTRAL = dict(
    vocab_size=40, hidden_size=16, intermediate_size=24, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64, num_experts_per_tok=2, num_local_experts=4,
    router_aux_loss_coef=0.02, bos_token_id=1, eos_token_id=2, pad_token_id=0)
OLMOE = dict(
    vocab_size=40, hidden_size=16, intermediate_size=12, num_hidden_layers=2, num_attention_heads=4,
    num_key_value_heads=4, max_position_embeddings=64, num_experts_per_tok=3, num_experts=6,
    router_aux_loss_coef=0.01, pad_token_id=1, eos_token_id=2)
QWEN3 = dict(
    vocab_size=40, hidden_size=16, intermediate_size=20, moe_intermediate_size=12,
    num_hidden_layers=2, num_attention_heads=4, num_key_value_heads=2, head_dim=6,
    max_position_embeddings=64, rope_theta=1e6, num_experts_per_tok=2, num_experts=6,
    norm_topk_prob=True, router_aux_loss_coef=0.01, bos_token_id=1, eos_token_id=2, pad_token_id=0)


class Variant:
    """A configuration, and how its config.json is written otherwise than transformers 4.57 does."""

    def __init__(self, family, standard, rewrite=None, **own):
        self.family = family
        self.values = dict(standard, **own)
        self.rewrite = rewrite
        self.kind = {"SwitchTransformers": "switch", "NllbMoe": "nllb"}.get(family, "decoder")
        head = "ForCausalLM" if self.kind == "decoder" else "ForConditionalGeneration"
        self.model_class = getattr(transformers, family + head)
        self.config_class = getattr(transformers, family + "Config")

    def config(self):
        values = json.loads(json.dumps(self.values))
        config = self.config_class(**values)
        config._attn_implementation = "eager"
        config.architectures = [self.model_class.__name__]
        return config


def spelled_new(config):
    """The keys of transformers 5."""
    scaling = config.pop("rope_scaling", None) or {}
    config["rope_parameters"] = dict(
        {"rope_type": "default"}, **scaling, rope_theta=config.pop("rope_theta"))
    config["dtype"] = config.pop("torch_dtype", config.get("dtype", "float32"))
    if "num_experts" in config:
        config["num_local_experts"] = config.pop("num_experts")


def bare(config):
    """Without keys whose values are the defaults, and with the old name of the type."""
    config.pop("head_dim", None)
    config["torch_dtype"] = config.pop("dtype", config.get("torch_dtype", "float32"))


VARIANTS = {
    # Switch
    "switch-untied": Variant(
        "SwitchTransformers", SWITCH, d_kv=6, num_heads=2, tie_word_embeddings=False,
        router_bias=True, dense_act_fn="gelu", relative_attention_num_buckets=7,
        relative_attention_max_distance=6, expert_capacity=2),
    "switch-all-sparse": Variant(
        "SwitchTransformers", SWITCH, num_sparse_encoder_layers=2, num_decoder_layers=4,
        decoder_sparse_step=3, num_heads=1, expert_capacity=3, dense_act_fn="silu",
        relative_attention_num_buckets=4, relative_attention_max_distance=8),
    "switch-sparse-encoder": Variant(
        "SwitchTransformers", SWITCH, num_layers=3, num_sparse_encoder_layers=0,
        decoder_sparse_step=0, expert_capacity=1, layer_norm_epsilon=1e-3, is_gated_act=True,
        feed_forward_proj="gated-gelu", decoder_start_token_id=3),
    "switch-sparse-decoder": Variant(
        "SwitchTransformers", SWITCH, encoder_sparse_step=0, num_decoder_layers=1,
        decoder_sparse_step=1, router_bias=True, num_experts=3),
    # NLLB-MoE
    "nllb-untied": Variant(
        "NllbMoe", NLLB, tie_word_embeddings=False, scale_embedding=False,
        activation_function="gelu", decoder_attention_heads=4, encoder_ffn_dim=16,
        router_bias=True, normalize_router_prob_before_dropping=True, expert_capacity=3,
        moe_eval_capacity_token_fraction=0.2),
    "nllb-mean-capacity": Variant(
        "NllbMoe", NLLB, expert_capacity=None, num_experts=6, encoder_sparse_step=1,
        encoder_layers=1, decoder_sparse_step=3, router_ignore_padding_tokens=True,
        moe_eval_capacity_token_fraction=0.1),
    "nllb-prioritized": Variant(
        "NllbMoe", NLLB, batch_prioritized_routing=True, expert_capacity=6, encoder_layers=1,
        decoder_layers=1, encoder_sparse_step=1, decoder_sparse_step=1,
        moe_eval_capacity_token_fraction=0.3),
    "nllb-prioritized-shares": Variant(
        "NllbMoe", NLLB, batch_prioritized_routing=True,
        normalize_router_prob_before_dropping=True, expert_capacity=5,
        moe_eval_capacity_token_fraction=-1.0, encoder_sparse_step=0, decoder_start_token_id=1,
        activation_function="silu", num_experts=3),
    # Mixtral
    "mixtral-window": Variant(
        "Mixtral", MIXTRAL, sliding_window=3, head_dim=6, num_key_value_heads=1,
        num_experts_per_tok=1, num_local_experts=9, hidden_act="gelu_new",
        tie_word_embeddings=True),
    "mixtral-all-experts": Variant(
        "Mixtral", MIXTRAL, num_experts_per_tok=4, num_key_value_heads=4, hidden_act="relu",
        rope_scaling={"rope_type": "linear", "factor": 2.5}, rope_theta=100.0),
    "mixtral-llama3": Variant(
        "Mixtral", MIXTRAL, hidden_size=24, rewrite=spelled_new, rope_theta=50.0,
        rope_scaling={
            "rope_type": "llama3", "factor": 4.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
            "original_max_position_embeddings": 32}),
    # OLMoE
    "olmoe-clip": Variant(
        "Olmoe", OLMOE, clip_qkv=0.6, attention_bias=True, num_key_value_heads=2,
        norm_topk_prob=True, hidden_act="gelu"),
    "olmoe-tied": Variant(
        "Olmoe", OLMOE, rewrite=bare, clip_qkv=1.0, num_key_value_heads=1, num_experts_per_tok=1,
        tie_word_embeddings=True, rope_scaling={"type": "linear", "factor": 4.0}),
    "olmoe-all-experts": Variant(
        "Olmoe", OLMOE, num_experts_per_tok=6, num_attention_heads=2, num_key_value_heads=2,
        rewrite=spelled_new, attention_bias=True),
    # Qwen3-MoE
    "qwen3-bias": Variant(
        "Qwen3Moe", QWEN3, attention_bias=True, num_hidden_layers=4, decoder_sparse_step=2,
        mlp_only_layers=[3, 7], norm_topk_prob=False, num_key_value_heads=4,
        hidden_act="gelu_pytorch_tanh"),
    "qwen3-window": Variant(
        "Qwen3Moe", QWEN3, rewrite=spelled_new, use_sliding_window=True, sliding_window=4,
        num_key_value_heads=1, num_experts_per_tok=1, num_experts=10, norm_topk_prob=False,
        hidden_act="relu"),
    "qwen3-yarn": Variant(
        "Qwen3Moe", QWEN3, head_dim=12, tie_word_embeddings=True, num_experts_per_tok=6,
        rope_theta=1e4,
        rope_scaling={
            "rope_type": "yarn", "factor": 4.0, "original_max_position_embeddings": 16}),
}


# MARK: Models and batches


def fill(model, kind, seed):
    """Weights by name, scaled so that gates have clear favourites."""
    seen = set()
    with torch.no_grad():
        for name, tensor in model.named_parameters():
            if tensor.data_ptr() in seen:
                continue
            seen.add(tensor.data_ptr())
            draw = np.random.Generator(np.random.PCG64([seed, zlib.crc32(name.encode())]))
            values = draw.standard_normal(tuple(tensor.shape)).astype(np.float32)
            width = tensor.shape[-1]
            if tensor.dim() == 1:
                values = 0.1 * values + ("norm" in name and name.endswith("weight"))
            elif "router.classifier" in name or name.endswith(".gate.weight"):
                values *= 3 / np.sqrt(width)
            elif "relative_attention_bias" in name:
                values *= 0.5
            elif "shared" in name and kind == "switch":
                pass
            elif "shared" in name or "lm_head" in name:
                values /= np.sqrt(width)
            elif "embed_tokens" in name:
                values *= 0.5
            else:
                values *= 0.8 / np.sqrt(width)
            tensor.copy_(torch.from_numpy(values.astype(np.float32)))


def build(variant, seed, double=False):
    model = variant.model_class(variant.config())
    model.tie_weights()
    fill(model, variant.kind, seed)
    return model.double() if double else model.float()


def batch(variant, seed, padded):
    config = variant.config()
    draw = np.random.Generator(np.random.PCG64([seed, 1, int(padded)]))
    rows, columns, targets = (2, 14, 14) if variant.kind == "decoder" else (3, 12, 9)
    ids = draw.integers(4, config.vocab_size, (rows, columns))
    mask = np.ones_like(ids)
    if variant.kind == "decoder":
        labels = ids.copy()
        if padded:
            ids[1, 9:], mask[1, 9:], labels[1, 9:] = config.pad_token_id, 0, -100
            labels[0, :4] = -100
    else:
        labels = draw.integers(4, config.vocab_size, (rows, targets))
        lengths = [(12, 9), (8, 6), (5, 4)] if padded else [(12, 9)] * 3
        for row, (source, target) in enumerate(lengths):
            ids[row, source - 1] = labels[row, target - 1] = config.eos_token_id
            ids[row, source:], mask[row, source:] = config.pad_token_id, 0
            labels[row, target:] = -100
    values = dict(input_ids=ids, attention_mask=mask, labels=labels)
    return {name: torch.from_numpy(value).long() for name, value in values.items()}


def forward(variant, model, inputs):
    """Of NLLB-MoE transformers takes the wrong router losses: cross-entropy alone."""
    return model(**inputs, use_cache=False, output_router_logits=variant.kind != "nllb")


def margin(variant, model, inputs):
    """The smallest difference of logits that decides between experts, and in a gate that serves the
    likeliest tokens first the smallest between two tokens' importances, times ten."""
    caught, hooks = [], []
    for name, module in model.named_modules():
        if name.endswith(("router.classifier", ".gate")):
            hooks.append(module.register_forward_hook(lambda m, x, y: caught.append(y.detach())))
    with torch.no_grad():
        forward(variant, model, inputs)
    for hook in hooks:
        hook.remove()
    choices = dict(switch=1, nllb=2).get(variant.kind) or model.config.num_experts_per_tok
    ranks = range(choices) if variant.kind == "nllb" else [choices - 1]
    smallest = float("inf")
    for logits in caught:
        logits = logits.reshape(-1, logits.shape[-1])
        order = logits.sort(dim=-1, descending=True).values
        for rank in ranks:
            if rank + 1 < order.shape[-1]:
                smallest = min(smallest, (order[:, rank] - order[:, rank + 1]).min().item())
        if getattr(model.config, "batch_prioritized_routing", False):
            likeliest = F.softmax(logits, dim=-1).max(dim=-1).values.sort().values.unique()
            smallest = min(smallest, 1000 * (likeliest[1:] - likeliest[:-1]).min().item())
    return smallest


# MARK: What is computed


def adamw(variant, seed, inputs, fills, clips, double=False):
    """Losses before three steps and after them, and the smallest margin."""
    model = build(variant, seed, double).train()
    matrices = [p for p in model.parameters() if not clips or p.dim() >= 2]
    vectors = [p for p in model.parameters() if clips and p.dim() < 2]
    groups = [dict(params=matrices, weight_decay=DECAY), dict(params=vectors, weight_decay=0.0)]
    optimizer = torch.optim.AdamW([g for g in groups if g["params"]], foreach=False, **ADAMW)
    losses, smallest = [], float("inf")
    for _ in range(3):
        optimizer.zero_grad(set_to_none=True)
        loss = forward(variant, model, inputs).loss
        loss.backward()
        losses.append(loss.item())
        smallest = min(smallest, margin(variant, model, inputs))
        for parameter in model.parameters():
            if fills and parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if clips:
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
    with torch.no_grad():
        losses.append(forward(variant, model, inputs).loss.item())
    return losses, min(smallest, margin(variant, model, inputs))


CONVENTIONS = {
    "skip_missing": (False, False), "zero_missing": (True, False),
    "skip_missing_clip1_nodecay1d": (False, True), "zero_missing_clip1_nodecay1d": (True, True),
}


def steps(variant, seed, inputs):
    """None where rounding decides."""
    found = {}
    for name, (fills, clips) in CONVENTIONS.items():
        losses, smallest = adamw(variant, seed, inputs, fills, clips)
        # Masks of attention are made in the default type.
        torch.set_default_dtype(torch.float64)
        exact, _ = adamw(variant, seed, inputs, fills, clips, double=True)
        torch.set_default_dtype(torch.float32)
        worst = max(abs(a - b) for a, b in zip(losses, exact))
        if smallest < MARGIN / 10 or worst > 1e-5:
            return None
        found[name] = dict(losses=losses)
    return found


def case(variant, seed, padded, tensors):
    """None where rounding decides."""
    name = "padded" if padded else "full"
    inputs = batch(variant, seed, padded)
    if margin(variant, build(variant, seed).eval(), inputs) < MARGIN:
        return None
    optimised = steps(variant, seed, inputs)
    if optimised is None:
        return None
    for key, value in inputs.items():
        tensors[f"{name}.{key}"] = value.to(torch.int32)
    with torch.no_grad():
        evaluated = forward(variant, build(variant, seed).eval(), inputs)
    model = build(variant, seed).train()
    trained = forward(variant, model, inputs)
    trained.loss.backward()
    tensors[f"{name}.eval.logits"] = evaluated.logits.contiguous()
    tensors[f"{name}.train.logits"] = trained.logits.detach().contiguous()
    norms = {
        n: None if p.grad is None else p.grad.double().norm().item()
        for n, p in model.named_parameters()}
    return dict(
        eval=dict(loss=evaluated.loss.item(), **router_losses(evaluated)),
        train=dict(loss=trained.loss.item(), grad_norms=norms), adamw=optimised)


def router_losses(output):
    """None at all where transformers computed none: readers tell by that what the loss has."""
    names = [f"{side}{kind}_loss" for side in ("", "encoder_", "decoder_") for kind in ("aux", "z")]
    found = {name: getattr(output, name, None) for name in names}
    return {name: float(value) for name, value in found.items() if value is not None}


def write(name, variant, folder):
    for seed in range(1000, 1400):
        tensors = {}
        cases = {}
        for padded in (False, True):
            cases["padded" if padded else "full"] = case(variant, seed, padded, tensors)
            if None in cases.values():
                break
        else:
            break
    else:
        raise SystemExit(f"{name}: no seed without near ties")
    model = build(variant, seed)
    place = os.path.join(folder, name)
    model.save_pretrained(place)
    os.remove(os.path.join(place, "generation_config.json"))
    path = os.path.join(place, "config.json")
    with open(path) as file:
        config = json.load(file)
    if variant.rewrite:
        variant.rewrite(config)
    with open(path, "w") as file:
        json.dump(config, file, indent=1, sort_keys=True)
    save_file(tensors, os.path.join(place, "golden.safetensors"))
    golden = dict(
        name=name, model_type=model.config.model_type, class_=variant.model_class.__name__,
        versions=dict(torch=torch.__version__, transformers=transformers.__version__),
        seed=seed, adamw=dict(ADAMW, weight_decay=DECAY), cases=cases)
    with open(os.path.join(place, "golden.json"), "w") as file:
        json.dump(golden, file, sort_keys=True)
    size = sum(os.path.getsize(os.path.join(place, f)) for f in os.listdir(place))
    dropped = sum(v is None for v in cases["padded"]["train"]["grad_norms"].values())
    print(f"{name}: seed {seed}, {size // 1024} KiB, {dropped} tensors untouched", flush=True)


def main():
    folder = os.path.join(os.path.dirname(os.path.abspath(__file__)), "variants")
    for name in sys.argv[1:] or VARIANTS:
        write(name, VARIANTS[name], folder)


if __name__ == "__main__":
    main()
