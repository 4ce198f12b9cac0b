"""Makes the small tokenizers of tests/golden/tokenizers and what the `tokenizers` library answers for each.

  python make_tokenizers.py            trains again and rewrites everything
  python make_tokenizers.py --expected keeps the tokenizers and rewrites only the answers
"""

import argparse
import json
import os
import random
import sys

from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

HERE = os.path.dirname(os.path.abspath(__file__))
OUT = os.path.join(HERE, "tokenizers")
sys.path.insert(0, os.path.join(HERE, "..", "..", "tools", "demo_model"))

import corpus  # noqa: E402
from english import Docstrings  # noqa: E402

LLAMA3_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
QWEN2_SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

FOREIGN = """Der schnelle braune Fuchs springt über den faulen Hund. Straße, Größe, Ärger, Öl, Übung.
Le café est déjà fermé; où êtes-vous allé hier soir? Ça va très bien, merci.
El niño comió una manzana mañana por la mañana. ¿Dónde está la estación?
Быстрая коричневая лиса прыгает через ленивую собаку. Привет, мир!
Γειά σου Κόσμε. Η γρήγορη αλεπού. 快速的棕色狐狸跳过懒狗。你好,世界!今天天气很好。
素早い茶色の狐がのろまな犬を飛び越える。こんにちは世界。カタカナ。 안녕하세요 세계. 빠른 갈색 여우.
مرحبا بالعالم. الثعلب البني السريع. שלום עולם. नमस्ते दुनिया। สวัสดีชาวโลก 😀 👍 🎉 ❤️ 👨‍👩‍👧‍👦"""


def TrainingTexts():
    g = corpus.Gen(11)
    texts = [m["content"] for _ in range(3000) for m in g.Conversation()]
    return texts + Docstrings()[::8] + FOREIGN.split("\n") * 30


def ByteLevelBpe(path, split, size, specials, normalizer=None, ignore_merges=False, use_regex=False):
    t = Tokenizer(models.BPE(ignore_merges=ignore_merges))
    if normalizer is not None:
        t.normalizer = normalizer
    level = pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=use_regex)
    t.pre_tokenizer = level if split is None else pre_tokenizers.Sequence(
        [pre_tokenizers.Split(Regex(split), behavior="isolated", invert=False), level])
    t.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=size, show_progress=False, initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    t.train_from_iterator(TrainingTexts(), trainer)
    t.add_special_tokens(specials)
    return t


def Write(name, tokenizer, edit=None):
    folder = os.path.join(OUT, name)
    os.makedirs(folder, exist_ok=True)
    value = json.loads(tokenizer.to_str())
    if edit:
        edit(value)
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
        json.dump(value, f, ensure_ascii=False, indent=1)
        f.write("\n")


def Llama3():
    """Split + ByteLevel(use_regex=false), ignore_merges, BOS by a template. One vocabulary entry no merge can reach."""
    t = ByteLevelBpe("llama3", LLAMA3_SPLIT, 1024, [], ignore_merges=True)
    unreachable = "Ġinferdcannotmerge"
    def Edit(v):
        v["model"]["vocab"][unreachable] = len(v["model"]["vocab"])
        first = len(v["model"]["vocab"])
        names = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>", "<|python_tag|>"]
        v["added_tokens"] = [dict(id=first + i, content=n, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
                             for i, n in enumerate(names)]
        v["post_processor"] = {"type": "Sequence", "processors": [
            {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": False, "use_regex": True},
            {"type": "TemplateProcessing",
             "single": [{"SpecialToken": {"id": names[0], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
             "pair": [{"SpecialToken": {"id": names[0], "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                      {"SpecialToken": {"id": names[0], "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
             "special_tokens": {names[0]: {"id": names[0], "ids": [first], "tokens": [names[0]]}}}]}
    Write("llama3", t, Edit)


def Gpt2():
    """ByteLevel with its own pattern, merges in the older form of one string each."""
    t = ByteLevelBpe("gpt2", None, 900, [AddedToken("<|endoftext|>", special=True, normalized=True)], use_regex=True)
    t.post_processor = processors.ByteLevel(trim_offsets=False)
    def Edit(v):
        v["model"]["merges"] = [m if isinstance(m, str) else " ".join(m) for m in v["model"]["merges"]]
    Write("gpt2", t, Edit)


def Qwen2():
    """NFC, digits one by one, special and plain added tokens."""
    t = ByteLevelBpe("qwen2", QWEN2_SPLIT, 1200, [AddedToken(x, special=True, normalized=False) for x in
                     ("<|endoftext|>", "<|im_start|>", "<|im_end|>")], normalizer=normalizers.NFC())
    t.add_tokens([AddedToken(x, special=False, normalized=False) for x in
                  ("<tool_call>", "</tool_call>", "<think>", "</think>", "<tool_response>", "</tool_response>")])
    t.post_processor = processors.ByteLevel(add_prefix_space=False, trim_offsets=False, use_regex=False)
    Write("qwen2", t)


def Added():
    """Added tokens that strip around them, match whole words only, or are matched after normalization."""
    t = ByteLevelBpe("added", QWEN2_SPLIT, 700, [AddedToken("<|user|>", special=True, rstrip=True, normalized=False),
                                                 AddedToken("<|assistant|>", special=True, rstrip=True, normalized=False),
                                                 AddedToken("<mask>", special=True, lstrip=True, normalized=False),
                                                 AddedToken("<both>", special=True, lstrip=True, rstrip=True, normalized=False),
                                                 AddedToken("<|end|>", special=True, normalized=False)], normalizer=normalizers.NFC())
    t.add_tokens([AddedToken("inferd", special=False, single_word=True, normalized=True),
                  AddedToken("caf\u00e9", special=False, normalized=True), AddedToken("  ", special=False, normalized=False),
                  AddedToken("<|end", special=False, normalized=False)])
    Write("added", t)


def TrainPieces(size, words_only):
    """SentencePiece-like pieces: byte tokens first, then characters and merges over the words with their leading block."""
    t = Tokenizer(models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    t.pre_tokenizer = pre_tokenizers.Metaspace(replacement="▁", prepend_scheme="always", split=words_only)
    specials = ["<unk>", "<s>", "</s>"] + [f"<0x{i:02X}>" for i in range(256)]
    t.train_from_iterator(TrainingTexts(), trainers.BpeTrainer(
        vocab_size=size, show_progress=False, special_tokens=specials, limit_alphabet=180))
    return t


def PieceAdded():
    return [dict(id=i, content=n, single_word=False, lstrip=False, rstrip=False, normalized=False, special=True)
            for i, n in enumerate(["<unk>", "<s>", "</s>"])]


def PieceTemplate():
    return {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
            "pair": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}},
                     {"SpecialToken": {"id": "<s>", "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}}}


PIECE_DECODER = {"type": "Sequence", "decoders": [
    {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
    {"type": "Strip", "content": " ", "start": 1, "stop": 0}]}


def Llama2():
    """Normalizer Prepend + Replace, no pre-tokenizer, byte fallback."""
    def Edit(v):
        v["added_tokens"] = PieceAdded()
        v["normalizer"] = {"type": "Sequence", "normalizers": [
            {"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
        v["pre_tokenizer"] = None
        v["post_processor"] = PieceTemplate()
        v["decoder"] = PIECE_DECODER
    Write("llama2", TrainPieces(1300, True), Edit)


def Mistral():
    """Metaspace pre-tokenizer, prepended to the first piece only, not split; Mistral's newer form."""
    def Edit(v):
        v["added_tokens"] = PieceAdded() + [dict(id=len(v["model"]["vocab"]) + i, content=n, single_word=False, lstrip=False, rstrip=False,
                                                 normalized=False, special=True) for i, n in enumerate(["[INST]", "[/INST]"])]
        v["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": False}
        v["post_processor"] = PieceTemplate()
        v["decoder"] = PIECE_DECODER
    Write("mistral", TrainPieces(1100, True), Edit)


def Gemma():
    """Spaces replaced but nothing prepended; a Split on the space; decoder without Strip."""
    def Edit(v):
        v["added_tokens"] = PieceAdded()
        v["normalizer"] = {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}
        v["pre_tokenizer"] = {"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious", "invert": False}
        v["post_processor"] = PieceTemplate()
        v["decoder"] = {"type": "Sequence", "decoders": [
            {"type": "Replace", "pattern": {"String": "▁"}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"}]}
    Write("gemma", TrainPieces(1000, True), Edit)


def Starcoder():
    """Digits one by one before ByteLevel with its own pattern."""
    t = Tokenizer(models.BPE())
    t.pre_tokenizer = pre_tokenizers.Sequence([pre_tokenizers.Digits(individual_digits=True),
                                               pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)])
    t.decoder = decoders.ByteLevel()
    t.train_from_iterator(TrainingTexts(), trainers.BpeTrainer(vocab_size=600, show_progress=False,
                                                              initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    t.add_special_tokens([AddedToken("<|endoftext|>", special=True, normalized=False)])
    Write("starcoder", t)


def Texts():
    r = random.Random(5)
    texts = ["", " ", "  ", "   ", "\n", "\n\n", "\r\n", "\r", "\t", "\t\t", " \n ", "\n \n", "   \n   x", "a", " a", "a ", "  a  ", "a  b",
             "a   b    c", "a\nb", "a\n\nb", "a \n b", "a\r\nb\r\n", "a\tb", "\ta", " \t a", "x\n", "x \n", "x\n ", "x\n\n  y", "!\n", "!\n\n\n", "!!! \n\n",
             "Hello", "Hello world", "Hello, world!", " Hello, world! ", "HELLO WORLD", "hello   world", "Hello\u00a0world", "hello\u3000world",
             "The quick brown fox jumps over the lazy dog.", "It's, we're, I've, I'm, they'll, he'd, don't", "IT'S WE'RE I'VE I'M THEY'LL HE'D DON'T",
             "'s't're've'm'll'd", "’s ’t ’re", "o'clock 'tis ''quoted''", "'S 'LL \u017f'\u017f 'ſ", "end.'s", "K'K \u212a",
             "inferd", " inferd", "inferdcannotmerge", " inferdcannotmerge", " inferdcannotmerge inferdcannotmerge", "inferd's", "xinferd", "inferd inferdx inferd.", "_inferd_",
             "What is the KV cache?", "What is paged attention?", "23 + 45 = 68", "Sort 4, 22, 7", "1", "12", "123", "1234", "12345", "123456", "1234567890",
             "3.14159", "1,000,000", "-42", "1e-5", "0x1F", "192.168.0.1:50051", "2026-11-22T18:33:23Z", "a1b2c3", "v1.2.3-rc4", "100%", "$5.00", "€9,99",
             "\u0661\u0662\u0663\u0664", "\uff11\uff12\uff13", "\u2160\u2161\u2163", "\u00b2\u00b3\u00b9", "\u00bd\u00bc", "\u0e51\u0e52\u0e53", "\U0001d7d8\U0001d7d9",
             "def f(x):\n    return x + 1\n", "for (int i = 0; i < n; ++i) {\n\tsum += a[i];\n}\n", "if x == y and not z:\n\n    pass", "#include <vector>\n#include <string>",
             "std::vector<std::string> v{\"a\", \"b\"};", "SELECT * FROM t WHERE id = 'x';", "<html><body>Hi &amp; bye</body></html>", "{\"key\": [1, 2, {\"a\": null}]}",
             "https://example.com/path?query=1&b=2#frag", "user@example.com", "C:\\Windows\\System32", "/usr/share/doc", "snake_case camelCase PascalCase kebab-case",
             "a+b-c*d/e%f^g&h|i~j", "!@#$%^&*()_+-=[]{}|;':\",./<>?", "...", "....", ". . .", "---", "***bold***", "`code`", "```python\nprint(1)\n```", "<<<>>>", "=>->", "//", "/* c */",
             "caf\u00e9", "cafe\u0301", "Stra\u00dfe", "na\u00efve r\u00e9sum\u00e9", "\u00c5ngstr\u00f6m A\u030angstro\u0308m", "\u1e9b\u0323", "e\u0301\u0302\u0303", "\u0301", " \u0301", "a\u0301\u0301\u0301b",
             "\ufb01\ufb02", "\u2126 \u03a9", "\u212b", "\u1100\u1161\u11a8", "\uac01", "\ud55c\uad6d\uc5b4", "\u110b\u1161\u11ab\u1102\u1167\u11bc",
             "\u4f60\u597d", "\u4f60\u597d\uff0c\u4e16\u754c\uff01", "\u5feb\u901f\u7684\u68d5\u8272\u72d0\u72f8\u8df3\u8fc7\u61d2\u72d7\u3002", "\u3053\u3093\u306b\u3061\u306f\u4e16\u754c", "\u30ab\u30bf\u30ab\u30ca\u3068\u3072\u3089\u304c\u306a",
             "\u304c \u304b\u3099", "\u65e5\u672c\u8a9emixedEnglish123", "\U00020000\U00020001", "\U0002f800", "\uf900",
             "\u0645\u0631\u062d\u0628\u0627 \u0628\u0627\u0644\u0639\u0627\u0644\u0645", "\u0627\u064e\u0644\u0652\u0639\u064e\u0631\u064e\u0628\u0650\u064a\u064e\u0651\u0629", "\u05e9\u05dc\u05d5\u05dd \u05e2\u05d5\u05dc\u05dd", "\u05e9\u05b8\u05c1\u05dc\u05d5\u05b9\u05dd",
             "\u0928\u092e\u0938\u094d\u0924\u0947 \u0926\u0941\u0928\u093f\u092f\u093e", "\u0e2a\u0e27\u0e31\u0e2a\u0e14\u0e35\u0e0a\u0e32\u0e27\u0e42\u0e25\u0e01", "\u1019\u103c\u1014\u103a\u1019\u102c", "\u0bb5\u0ba3\u0b95\u0bcd\u0b95\u0bae\u0bcd",
             "\u041f\u0440\u0438\u0432\u0435\u0442, \u043c\u0438\u0440!", "\u0413\u041e\u0420\u041e\u0414", "\u0393\u03b5\u03b9\u03ac \u03c3\u03bf\u03c5 \u039a\u03cc\u03c3\u03bc\u03b5", "T\u00fcrk\u00e7e \u0130stanbul \u0131\u015f\u0131k", "Vi\u1ec7t Nam",
             "\U0001f600", "\U0001f600\U0001f600\U0001f600", " \U0001f600", "a\U0001f600b", "\U0001f468\u200d\U0001f469\u200d\U0001f467\u200d\U0001f466", "\U0001f44d\U0001f3fd", "\u2764\ufe0f", "\U0001f1e9\U0001f1ea\U0001f1eb\U0001f1f7",
             "\U0001f3f4\U000e0067\U000e0062\U000e0065\U000e006e\U000e0067\U000e007f", "1\ufe0f\u20e3", "Hi \U0001f44b how are you? \U0001f60a", "\u2603 \u2764 \u2713 \u2717", "\U0001f9d1\u200d\U0001f4bb codes",
             "\u0000", "a\u0000b", "\u0001\u0002\u0003", "\u001b[31mred\u001b[0m", "\u007f", "\u0080\u0081", "\u0085", "a\u0085b", "\u000b", "\u000c", "a\u000bb\u000cc", "\u001c\u001d\u001e\u001f", "a\u001cb", "\u2028", "\u2029", "a\u2028b",
             "\u200b", "a\u200bb", "\u200c\u200d", "\u2060", "\ufeff", "\ufeffHello", "\ufffd", "\ufffe", "\uffff", "\U0001ffff", "\U0010ffff", "\ue000", "\U000f0000", "\u0378", "\u202eabc\u202c", "\u00ad", "a\u00adb", "\u180e",
             "\u2000\u2001\u2002\u2003", "\u1680", "\u202f", "\u205f", "a \u00a0 b", "\u00a0\u00a0x", "x\u2003y", " \u2003 \n", "\u00aa\u00ba", "\u02b0\u02b1", "\u1d2c", "\U0001d400\U0001d401", "\u24d0\u24d1", "\u0345",
             "<|begin_of_text|>", "<|end_of_text|>", "<|begin_of_text|>Hello<|eot_id|>", "a<|eot_id|>b", "<|eot_id|><|eot_id|>", "<|start_header_id|>user<|end_header_id|>\n\nHi<|eot_id|>", "<|eot_id", "|eot_id|>", "< |eot_id| >", "<|EOT_ID|>",
             "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n", "<|im_start|", "<|im_end|>x", " <|im_end|> ", "<|endoftext|>", "a <|endoftext|> b", "<|endoftext|><|endoftext|>",
             "<tool_call>\n{\"name\": \"f\"}\n</tool_call>", "<think>hm</think>", "<think>\n\n</think>\n\n", "<tool_response>x</tool_response>", "</think", "<s>", "</s>", "<s>Hello</s>", "<s> Hello </s>", "a</s>b", "<unk>", "<unk><unk>", "< s >",
             "[INST] Hi [/INST]", "[INST]Hi[/INST] there", "[INST] <<SYS>>\nBe kind\n<</SYS>>\n\nHi [/INST]", "<0x41>", "<0x0A>", "\u2581", "\u2581\u2581", "a\u2581b", " \u2581 ", "\u0120", "\u010a", "a\u0120b",
             "<|user|>\nHi<|end|>\n<|assistant|>\nHo<|end|>", "<|user|>   Hi", "<|user|>\n\n\nHi", "a <mask> b", "a   <mask>   b", "a  <both>  b", "<both>", " <both> ", "<both><both>", "<|end", "<|end|", "<|end|>", "<|end<|end|>", "  <mask>", "a  b  c", "x    y", "cafe\u0301 caf\u00e9 cafe",
             "caf\u00e9s", "inferd\u0301", "Hello inferd, hello!", "inferd1 1inferd inferd-x",
             "supercalifragilisticexpialidocious", "antidisestablishmentarianism " * 3, "a" * 64, "ab" * 100, "x" * 500, "abcdefghij" * 60, "\u4f60" * 50, "\U0001f600" * 20, " " * 40, "\n" * 30, "\t" * 17, " \n" * 12, "-" * 70, "=" * 33, "0" * 25, "!?" * 20,
             " " * 10 + "x" + " " * 10, "\n\n\n    indented\n        more\n", "a" + " " * 15 + "b", "word " * 40, "The end.\n\n\n\n", "Trailing spaces   ", "   Leading spaces", "tabs\t\tand  spaces \t mixed", "mixed\r\nline\nends\r",
             "Paged attention keeps the KV cache in fixed-size blocks, so memory is not wasted on unused space.",
             "1. First\n2. Second\n3. Third\n", "- a\n- b\n  - c\n", "| a | b |\n|---|---|\n| 1 | 2 |", "# Title\n\nSome *text* with `code`.\n\n## Next\n", "Dear Sir,\n\nI am writing to you.\n\nYours,\nA. B.",
             "\u00abQuoted\u00bb \u201ctext\u201d \u2018here\u2019 \u2013 dash \u2014 dash \u2026", "\u00bfQu\u00e9? \u00a1S\u00ed!", "x\u00b2 + y\u00b2 = z\u00b2", "\u2211\u222b\u221a\u2202", "\u2190\u2191\u2192\u2193", "\u2500\u2502\u250c\u2510", "A\u20dd", "\u0915\u094d\u0937"]
    pieces = ["hello", " world", "\n", "  ", "\t", "42", "7", "'s", "'LL", "\u00e9", "e\u0301", "\u4e16", "\U0001f600", "\u200d", "<|eot_id|>", "<s>", "!", "...", " the", "The", "_", "\u00a0", "\r\n", "KV", " cache", "\u0627", "\ud55c", "-", "(", ")", " ", "\u2581", "<think>", "<mask>", "inferd", "A", "\u0000", "\ufffd"]
    for _ in range(70):
        texts.append("".join(r.choice(pieces) for _ in range(r.randint(2, 14))))
    ranges = [(0x20, 0x7f), (0xa0, 0x250), (0x300, 0x370), (0x370, 0x530), (0x590, 0x700), (0x900, 0xd00), (0x1100, 0x1200), (0x2000, 0x2070), (0x2100, 0x2200), (0x3040, 0x3100), (0x4e00, 0x5000), (0xac00, 0xad00), (0x1f300, 0x1f650), (0x1e00, 0x1f00)]
    for i in range(50):
        low, high = ranges[i % len(ranges)]
        texts.append("".join(chr(r.randrange(low, high)) if r.random() < 0.8 else r.choice(" ab1.\n") for _ in range(r.randint(3, 24))))
    return list(dict.fromkeys(texts))


def Expected(name):
    folder = os.path.join(OUT, name)
    t = Tokenizer.from_file(os.path.join(folder, "tokenizer.json"))
    texts = Texts()
    with open(os.path.join(folder, "expected.json"), "w", encoding="ascii") as f:
        f.write('{"cases": [\n')
        for i, text in enumerate(texts):
            plain = t.encode(text, add_special_tokens=False).ids
            special = t.encode(text, add_special_tokens=True).ids
            case = {"text": text, "ids": plain, "ids_with_special": special,
                    "decoded": t.decode(special, skip_special_tokens=False), "decoded_skip_special": t.decode(special, skip_special_tokens=True)}
            if len(plain) <= 16 and any(ord(c) > 0x7f for c in text):
                # Text of every prefix: what a detokenizer sees while a character is still incomplete.
                case["decoded_prefixes"] = [t.decode(plain[:n], skip_special_tokens=False) for n in range(len(plain) + 1)]
            f.write(json.dumps(case) + (",\n" if i + 1 < len(texts) else "\n"))
        f.write("]}\n")
    return len(texts), t.get_vocab_size()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--expected", action="store_true")
    args = parser.parse_args()
    makers = {"llama3": Llama3, "gpt2": Gpt2, "qwen2": Qwen2, "added": Added, "llama2": Llama2, "mistral": Mistral, "gemma": Gemma, "starcoder": Starcoder}
    for name, maker in makers.items():
        if not args.expected:
            maker()
        print(name, *Expected(name))


if __name__ == "__main__":
    main()
