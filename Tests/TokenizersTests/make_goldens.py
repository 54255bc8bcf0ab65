#!/usr/bin/env python3
"""Writes what Hugging Face's tokenizers make of texts, for pipelines of all supported parts.

    pip install tokenizers==0.22.2 transformers==4.57.6 sentencepiece==0.2.3
    python make_goldens.py Resources        # pipelines.json, and layouts/ with golden.json

golden.json, the tokenizer.*.json and the sp_*.model, which were made before in the same way, are
read; what is written is cut from them or trained on the sentences of golden.json. Keep the files:
another run gives other models."""
import base64, json, os, random, shutil, sys, tempfile
import sentencepiece
from tokenizers import Tokenizer

folder = sys.argv[1]
random.seed(7)
golden = json.load(open(f"{folder}/golden.json", encoding="utf-8"))
sentences = golden["probe"][17:]
odd = ("A1é\u0301 \u00a0\t\n.-_'ıİßΣςﬁ①Åक\u093c़ादà\u0323カ\u3099한\u1112\u1161🙂\u200d👩ⅣⅨ½٣。，▁"
       "\u2028ſK<>/\\$€")


def texts(count):
    found = ["", " ", "Hello  world's 12345 don'T", "<extra_id_0>foo foobar[X] É! <unk>"]
    while len(found) < count:
        text = list(random.choice(sentences)[:40])
        for _ in range(random.randint(1, 6)):
            text.insert(random.randint(0, len(text)), random.choice(odd))
        found.append("".join(text))
    return found


def small(name, merges):
    model = json.load(open(f"{folder}/tokenizer.{name}.json", encoding="utf-8"))["model"]
    if model["type"] == "Unigram":
        model["vocab"] = model["vocab"][:400] + [[f"<0x{i:02X}>", -9.0] for i in range(256)]
        return model
    model["merges"] = model["merges"][:merges]
    made = {a + b for a, b in model["merges"]}
    pieces = [p for p, _ in sorted(model["vocab"].items(), key=lambda entry: entry[1])]
    pieces = [p for p in pieces if len(p) == 1 or p in made or p.startswith("<")]
    model["vocab"] = {p: i for i, p in enumerate(pieces)}
    return model


models = {"bytes": small("byte_level_bpe", 300), "pieces": small("sp_bpe_byte_fallback", 300),
          "unigram": small("unigram", 0)}
models["strings"] = dict(models["bytes"], merges=[" ".join(m) for m in models["bytes"]["merges"]])
models["whole"] = dict(models["bytes"], ignore_merges=True)
models["unknown"] = dict(models["pieces"], byte_fallback=False, fuse_unk=False)
models["fused"] = dict(models["pieces"], byte_fallback=False, fuse_unk=True)
models["unigram_bytes"] = dict(models["unigram"], byte_fallback=True)


def charsmap():
    """A map of a few characters and sequences, made by SentencePiece."""
    from sentencepiece import sentencepiece_model_pb2
    with tempfile.TemporaryDirectory() as d:
        open(f"{d}/rules", "w").write("FB01\t66 69\n2460\t31\n65 301\tE9\n41 30A\tC5\n9\t20\nA0\t20\n")
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(sentences), model_prefix=f"{d}/m", vocab_size=700, model_type="bpe",
            normalization_rule_tsv=f"{d}/rules", minloglevel=2, character_coverage=0.98)
        model = sentencepiece_model_pb2.ModelProto()
        model.ParseFromString(open(f"{d}/m.model", "rb").read())
        return base64.b64encode(model.normalizer_spec.precompiled_charsmap).decode()


def sequence(name, *parts):
    return {"type": "Sequence", name: list(parts)}


def level(prefix=False, regex=False):
    return {"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": True,
            "use_regex": regex}


def split(pattern, behavior="Isolated", invert=False, kind="Regex"):
    return {"type": "Split", "pattern": {kind: pattern}, "behavior": behavior, "invert": invert}


def metaspace(scheme="always", cut=True):
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}


def replace(kind, pattern, content):
    return {"type": "Replace", "pattern": {kind: pattern}, "content": content}


# How Llama 3, gpt-oss, Qwen (possessive, to try it), DeepSeek V3 and DeepSeek V2 cut words.
tail = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
short = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)"
upper, lower = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]", r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
words = [
    [short + r"|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}" + tail],
    [rf"[^\r\n\p{{L}}\p{{N}}]?{upper}*{lower}+{short}?|[^\r\n\p{{L}}\p{{N}}]?{upper}+{lower}*{short}?"
     + r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    [r"[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"],
    [r"\p{N}{1,3}", "[一-龥぀-ゟ゠-ヿ]+",
     r"[!-/:-~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"],
    [r"[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+"],
]
behaviors = ["Removed", "Isolated", "MergedWithPrevious", "MergedWithNext", "Contiguous"]
bytes_decoder = level(True, True)
pieces_decoder = sequence("decoders", replace("String", "▁", " "), {"type": "ByteFallback"},
                          {"type": "Fuse"}, {"type": "Strip", "content": " ", "start": 1, "stop": 0})
pieces_normalizer = sequence("normalizers", {"type": "Prepend", "prepend": "▁"},
                             replace("String", " ", "▁"))
template = {
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "</s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
               {"SpecialToken": {"id": "<unk>", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {"</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]},
                       "<unk>": {"id": "<unk>", "ids": [2, 0], "tokens": ["<unk>", "<pad>"]}}}

plans = []  # (model, normalizer, pre-tokenizer, decoder)
for name, pieces in zip(["bytes", "strings", "whole", "bytes", "bytes"], words):
    parts = [split(p) for p in pieces]
    plans.append((name, {"type": "NFC"}, sequence("pretokenizers", *parts, level()), bytes_decoder))
plans.append(("bytes", None, level(False, True), bytes_decoder))
plans.append(("bytes", None, level(True, True), bytes_decoder))
digits = {"type": "Digits", "individual_digits": True}
plans.append(("bytes", None, sequence("pretokenizers", digits, level()), bytes_decoder))
digits = {"type": "Digits", "individual_digits": False}
plans.append(("bytes", None, sequence("pretokenizers", digits, level(True)), bytes_decoder))
for behavior in behaviors:
    plans.append(("fused", None, split(r"\s+", behavior), None))
    plans.append(("fused", None, split(" ", behavior, True, "String"), {"type": "Fuse"}))
    plans.append(("unknown", None, {"type": "Punctuation", "behavior": behavior}, None))
plans.append(("pieces", pieces_normalizer, None, pieces_decoder))
plans.append(("pieces", None, metaspace("first"), metaspace("first")))
plans.append(("pieces", None, metaspace("never", False), metaspace("never")))
plans.append(("unknown", None, {"type": "Whitespace"}, None))
plans.append(("fused", {"type": "StripAccents"}, {"type": "WhitespaceSplit"}, None))
plans.append(("pieces", {"type": "Strip", "strip_left": True, "strip_right": False}, None,
              {"type": "Strip", "content": "e", "start": 1, "stop": 0}))
t5 = sequence("pretokenizers", {"type": "WhitespaceSplit"}, metaspace())
for form in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase"]:
    plans.append(("unigram_bytes", {"type": form}, metaspace(), metaspace()))
mapped = {"type": "Precompiled", "precompiled_charsmap": charsmap()}
plans.append(("unigram", mapped, t5, metaspace()))
plans.append(("unigram", sequence("normalizers", mapped, replace("Regex", " {2,}", " ")),
              metaspace("first"), replace("Regex", "[aeiou]+", "_")))


def added(start):
    contents = random.sample(["foo", "foobar", "[X]", "ee", "É!", "e\u0301", "n't", "①", "ab "], 5)
    return [dict(id=start + i, content=c, special=random.random() < .5,
                 normalized=random.random() < .5,
                 **{f: random.random() < .3 for f in ("single_word", "lstrip", "rstrip")})
            for i, c in enumerate(contents)]


specials = [dict(id=i, content=c, special=True, normalized=False, single_word=False, lstrip=False,
                 rstrip=False) for i, c in enumerate(["<pad>", "</s>", "<unk>", "<extra_id_0>"])]
pipelines = []
for name, normalizer, pre, decoder in plans:
    post = random.choice([None, template, sequence("processors", level(), template)])
    parts = dict(version="1.0", truncation=None, padding=None,
                 added_tokens=specials + added(len(models[name]["vocab"])), normalizer=normalizer,
                 pre_tokenizer=pre, post_processor=post, decoder=decoder)
    tokenizer = Tokenizer.from_str(json.dumps(dict(parts, model=models[name])))
    cases = []
    for text in texts(8):
        ids = tokenizer.encode(text).ids
        cases.append(dict(text=text, ids=ids, shown=tokenizer.decode(ids, skip_special_tokens=False),
                          skipped=tokenizer.decode(ids)))
    parts = json.dumps(parts, ensure_ascii=False)
    pipelines.append(dict(model=name, parts=parts, size=tokenizer.get_vocab_size(), cases=cases))
models = {n: json.dumps(m, ensure_ascii=False) for n, m in models.items()}
with open(f"{folder}/pipelines.json", "w", encoding="utf-8") as file:
    json.dump({"models": models, "pipelines": pipelines}, file, ensure_ascii=False, indent=0)


def train(path, **settings):
    latin = [s for s in sentences if max(map(ord, s)) < 0x250]
    with open(path, "wb") as file:
        sentencepiece.SentencePieceTrainer.train(
            sentence_iterator=iter(latin), model_writer=file, character_coverage=0.98,
            num_threads=1, normalization_rule_name="identity", minloglevel=2, **settings)


from transformers import LlamaTokenizer, NllbTokenizer, T5Tokenizer

layouts = f"{folder}/layouts"
shutil.rmtree(layouts, ignore_errors=True)
os.makedirs(layouts)
llama_ids = dict(unk_id=0, bos_id=1, eos_id=2, pad_id=-1)
languages = ["ace_Arab", "eng_Latn", "fra_Latn", "zho_Hans"]
with tempfile.TemporaryDirectory() as d:
    train(f"{d}/t5.model", model_type="unigram", vocab_size=190, unk_id=2, bos_id=-1, eos_id=1,
          pad_id=0)
    train(f"{d}/bpe.model", model_type="bpe", vocab_size=240, **llama_ids)
    train(f"{d}/llama.model", model_type="bpe", vocab_size=500, byte_fallback=True, **llama_ids)
    made = {
        "t5": T5Tokenizer(f"{d}/t5.model", extra_ids=100, legacy=True),
        "nllb": NllbTokenizer(f"{d}/bpe.model", src_lang="eng_Latn",
                              additional_special_tokens=languages),
        "llama": LlamaTokenizer(f"{d}/llama.model", legacy=True),
    }
    probe = ["", "Hello world", "  two  spaces  ", "naïve café — “quotes” …", "切符", "tab\tnew\nline",
             "<extra_id_0> gap <extra_id_1>", "a<extra_id_99>b", "end</s>start", "x <mask> y",
             "fra_Latn text", "<s> <pad> <unk>", "Le pont transporte de l'eau."]
    out = {"probe": probe}
    for name, tokenizer in made.items():
        tokenizer.save_pretrained(f"{layouts}/{name}")
        ids = [tokenizer(s)["input_ids"] for s in probe]
        skipped = [tokenizer.decode(i, skip_special_tokens=True,
                                    clean_up_tokenization_spaces=False) for i in ids]
        out[name] = dict(ids=ids, skipped=skipped, size=len(tokenizer))
configs = {"t5": dict(model_type="switch_transformers", vocab_size=320, pad_token_id=0, eos_token_id=1),
           "nllb": dict(model_type="nllb-moe", vocab_size=260), "llama": dict(vocab_size=500)}
for name, config in configs.items():
    json.dump(config, open(f"{layouts}/{name}/config.json", "w"))
    if os.path.exists(f"{layouts}/{name}/added_tokens.json"):
        os.remove(f"{layouts}/{name}/added_tokens.json")
json.dump(out, open(f"{layouts}/golden.json", "w", encoding="utf-8"), ensure_ascii=False)
