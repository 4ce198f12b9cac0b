"""A synthetic byte-level BPE vocabulary of any size, the same for both sides.

The first 256 tokens are the bytes, the last two are special, and every token between
them is made of small letters, so that each has a text of its own and a merge rule.
"""

import json
import string

BOS, EOS = "<|bos|>", "<|eos|>"


def byte_symbols():
    """How byte-level BPE spells each byte."""
    shown = [*range(33, 127), *range(161, 173), *range(174, 256)]
    symbols, extra = {}, 0
    for byte in range(256):
        if byte in shown:
            symbols[byte] = chr(byte)
        else:
            symbols[byte] = chr(256 + extra)
            extra += 1
    return [symbols[byte] for byte in range(256)]


def vocabulary(size):
    """(tokens in the order of their ids, merges as pairs)."""
    tokens = byte_symbols()
    merges = []
    level = list(string.ascii_lowercase)
    while len(tokens) < size - 2:
        longer = []
        for left in level:
            for right in string.ascii_lowercase:
                longer.append(left + right)
                if len(tokens) < size - 2:
                    tokens.append(left + right)
                    merges.append((left, right))
        level = longer
    return tokens + [BOS, EOS], merges


def tokenizer_json(size):
    tokens, merges = vocabulary(size)
    special = [{"id": size - 2 + i, "content": text, "single_word": False, "lstrip": False,
                "rstrip": False, "normalized": False, "special": True}
               for i, text in enumerate((BOS, EOS))]
    return json.dumps({
        "version": "1.0", "truncation": None, "padding": None, "added_tokens": special,
        "normalizer": None,
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": True,
                          "use_regex": True},
        "post_processor": None,
        "decoder": {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True,
                    "use_regex": True},
        "model": {"type": "BPE", "dropout": None, "unk_token": None,
                  "continuing_subword_prefix": None, "end_of_word_suffix": None,
                  "fuse_unk": False, "byte_fallback": False, "ignore_merges": False,
                  "vocab": {token: i for i, token in enumerate(tokens)},
                  "merges": [list(pair) for pair in merges]},
    }, ensure_ascii=False)
