#!/usr/bin/env python3
"""Writes what transformers makes of pairs and conversations, with the tiny tokenizers of
TokenizersTests.

    pip install torch transformers==4.57.6 sentencepiece==0.2.3
    python make_goldens.py ../TokenizersTests/Resources Resources

It makes sequences.json, and llama/, a tokenizer as Mixtral has it.

Conversations are written out by hand, as the templates published with Qwen3, Mixtral 8x7B Instruct
and OLMoE Instruct would: parts that are learned are marked, and the marks become those of tokens
through the offsets that tokenizers reports."""
import json
import os
import sys
import torch
from transformers import LlamaTokenizerFast, NllbTokenizer, PreTrainedTokenizerFast, T5Tokenizer
from transformers import SwitchTransformersConfig, SwitchTransformersForConditionalGeneration
from transformers.models.nllb_moe.modeling_nllb_moe import shift_tokens_right

folder, output = sys.argv[1:]
pairs = [("Hello world", "Bonjour le monde"), ("Le pont  transporte de l'eau.", "naïve café"),
         (" two  spaces ", "a<extra_id_0>b"), ("切符", "x")]
prefix = "translate English to French: "

t5 = T5Tokenizer.from_pretrained(f"{folder}/layouts/t5", legacy=True)
model = SwitchTransformersForConditionalGeneration(SwitchTransformersConfig(
    vocab_size=320, d_model=8, d_kv=4, d_ff=8, num_heads=2, num_layers=1, num_decoder_layers=1,
    num_experts=2, decoder_start_token_id=0, pad_token_id=0))
out = {"prefix": prefix, "t5": [], "nllb": [], "plain": [], "chat": []}
for source, target in pairs:
    made = t5(prefix + source, text_target=target)
    inputs = model.prepare_decoder_input_ids_from_labels(torch.tensor([made["labels"]]))[0].tolist()
    out["t5"].append(dict(source=source, target=target, ids=made["input_ids"],
                          labels=made["labels"], inputs=inputs))

for source, target in pairs:
    for one, other in [("eng_Latn", "fra_Latn"), ("zho_Hans", "ace_Arab")]:
        nllb = NllbTokenizer.from_pretrained(f"{folder}/layouts/nllb", src_lang=one, tgt_lang=other)
        made = nllb(source, text_target=target)
        inputs = shift_tokens_right(torch.tensor([made["labels"]]), 1, 2)[0].tolist()
        out["nllb"].append(dict(source=source, target=target, languages=[one, other],
                                ids=made["input_ids"], labels=made["labels"], inputs=inputs))

llama = LlamaTokenizerFast.from_pretrained(f"{folder}/layouts/llama", from_slow=True, legacy=True)
os.makedirs(f"{output}/llama", exist_ok=True)
llama.backend_tokenizer.save(f"{output}/llama/tokenizer.json", pretty=False)
with open(f"{output}/llama/tokenizer_config.json", "w") as file:
    json.dump({"bos_token": "<s>", "eos_token": "</s>"}, file)
level = PreTrainedTokenizerFast(tokenizer_file=f"{folder}/tokenizer.byte_level_bpe.json")
specials = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "<|endoftext|>"]
level.add_special_tokens({"additional_special_tokens": specials})


def marked(tokenizer, parts):
    """Ids of the whole text and which are learned: those that touch a learned part."""
    text = "".join(part for part, _ in parts)
    made = tokenizer(text, add_special_tokens=False, return_offsets_mapping=True)
    learned, place = [], 0
    for part, is_learned in parts:
        learned += [is_learned] * len(part)
    marks = [any(learned[a:b]) for a, b in made["offset_mapping"]]
    return dict(text=text, ids=made["input_ids"], learned=marks)


def chat(template, tokenizer, messages, *parts):
    roles = {"s": "system", "u": "user", "a": "assistant"}
    messages = [dict(role=roles[m[0]], content=m[1:]) for m in messages]
    parts = [(part.removeprefix("¶"), part.startswith("¶")) for part in parts]
    out["chat"].append(dict(template=template, messages=messages, **marked(tokenizer, parts)))


# A part that begins with ¶ is learned.
one = ["uHow many moons?", "aTwo moons."]
more = ["sBe brief.", "uHello world", "aBonjour!\nCa va?", "uWhy  so?", "aBecause."]
chat("chatml", level, one, "<|im_start|>user\nHow many moons?<|im_end|>\n<|im_start|>assistant\n",
     "¶Two moons.<|im_end|>", "\n")
chat("chatml", level, more + ["uMore?"], "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n"
     "Hello world<|im_end|>\n<|im_start|>assistant\n", "¶Bonjour!\nCa va?<|im_end|>",
     "\n<|im_start|>user\nWhy  so?<|im_end|>\n<|im_start|>assistant\n", "¶Because.<|im_end|>",
     "\n<|im_start|>user\nMore?<|im_end|>\n")
chat("chatml", level, ["uHello", "a\n\nworld"], "<|im_start|>user\nHello<|im_end|>\n"
     "<|im_start|>assistant\n", "¶\n\nworld<|im_end|>", "\n")
chat("qwen3", level, one, "<|im_start|>user\nHow many moons?<|im_end|>\n<|im_start|>assistant\n"
     "<think>\n\n</think>\n\n", "¶Two moons.<|im_end|>", "\n")
chat("qwen3", level, ["uOne?", "a<think>\nLet me see.\n</think>\n\nTwo.", "uTwo?",
                      "a<think>\nHm.\n</think>\n\nThree."],
     "<|im_start|>user\nOne?<|im_end|>\n<|im_start|>assistant\n", "¶Two.<|im_end|>",
     "\n<|im_start|>user\nTwo?<|im_end|>\n<|im_start|>assistant\n",
     "¶<think>\nHm.\n</think>\n\nThree.<|im_end|>", "\n")
chat("mistral", llama, one, "<s> [INST] How many moons? [/INST]", "¶ Two moons.</s>")
chat("mistral", llama, more, "<s> [INST] Be brief.\n\nHello world [/INST]",
     "¶ Bonjour!\nCa va?</s>", " [INST] Why  so? [/INST]", "¶ Because.</s>")
level.eos_token = level.bos_token = "<|endoftext|>"
chat("tulu", level, one, "<|endoftext|><|user|>\nHow many moons?\n<|assistant|>\n",
     "¶Two moons.<|endoftext|>")
chat("tulu", level, more, "<|endoftext|><|system|>\nBe brief.\n<|user|>\nHello world\n<|assistant|>\n",
     "¶Bonjour!\nCa va?<|endoftext|>", "\n<|user|>\nWhy  so?\n<|assistant|>\n",
     "¶Because.<|endoftext|>")

# source, line feed, target, end; the start token as the tokenizer adds it.
for source, target in pairs:
    made = marked(llama, [("<s>" + source + "\n", False), (target + "</s>", True)])
    out["plain"].append(dict(source=source, target=target, **made))

with open(f"{output}/sequences.json", "w", encoding="utf-8") as file:
    json.dump(out, file, ensure_ascii=False, indent=0)
