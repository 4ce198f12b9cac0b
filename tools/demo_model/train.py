"""Trains the demo model (and the small one) on the CPU from the generated corpus, and exports it in Hugging Face format.

  python train.py --size main --minutes 60      trains, resumes from the work folder's checkpoint, exports at the end
  python train.py --size main --export-only     exports the latest checkpoint
"""

import argparse
import json
import math
import os
import random
import sys
import time

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, processors, trainers

import corpus
from english import Docstrings
from net import Net, NetConfig

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))

SPECIAL = ["<|begin_of_text|>", "<|end_of_text|>", "<|im_start|>", "<|im_end|>", "<|pad|>"]
BOS, EOT, IM_START, IM_END, PAD = range(5)
VOCAB = 2048

# The split of the Llama-3 tokenizer with digits taken one by one, so that arithmetic sees columns.
SPLIT = (r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")

CHAT_TEMPLATE = (
    "{{- bos_token }}"
    "{%- for message in messages %}"
    "{%- if message['role'] not in ['system', 'user', 'assistant'] %}"
    "{{- raise_exception('Unknown role: ' + message['role']) }}"
    "{%- endif %}"
    "{{- '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>\n' }}"
    "{%- endfor %}"
    "{%- if add_generation_prompt %}"
    "{{- '<|im_start|>assistant\n' }}"
    "{%- endif %}")

SIZES = {
    "main": dict(config=NetConfig(vocab_size=VOCAB, hidden_size=256, intermediate_size=768, num_layers=7, num_heads=8, num_kv_heads=4),
                 folder="models/demo", learning_rate=2.0e-3),
    "small": dict(config=NetConfig(vocab_size=VOCAB, hidden_size=96, intermediate_size=256, num_layers=4, num_heads=3, num_kv_heads=3),
                  folder="models/demo-small", learning_rate=4e-3),
}


def BuildTokenizer(path):
    """Byte-level BPE over the corpus and the English text; written once, shared by both sizes."""
    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(SPLIT), behavior="isolated", invert=False),
        pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=False)])
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(vocab_size=VOCAB, special_tokens=SPECIAL, show_progress=False,
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    g = corpus.Gen(7)
    texts = []
    for _ in range(12000):
        texts += [m["role"] + "\n" + m["content"] for m in g.Conversation()]
    tokenizer.train_from_iterator(texts + Docstrings()[::3], trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A <|begin_of_text|> $B", special_tokens=[("<|begin_of_text|>", BOS)])
    tokenizer.save(path)


def PadLength(n):
    """Few distinct shapes: kernels are prepared per shape."""
    step = 8 if n <= 128 else 32
    return -(-n // step) * step


class Samples:
    """Batches of (ids, rows, targets); samples of like length together, about `tokens` tokens a batch, padding included."""

    def __init__(self, tokenizer, seed, tokens, focus=None):
        self.t = tokenizer
        self.g = corpus.Gen(seed, focus=focus)
        self.r = random.Random(seed + 1)
        self.tokens = tokens
        self.ready = []
        self.english = [tokenizer.encode(x, add_special_tokens=False).ids for x in Docstrings()]
        self.header = {role: self.Ids(role + "\n") for role in ("system", "user", "assistant")}
        self.newline = self.Ids("\n")
        self.cache = {}

    def Ids(self, text):
        return self.t.encode(text, add_special_tokens=False).ids

    def Conversation(self):
        ids, learn = [BOS], [False]
        for m in self.g.Conversation():
            head = [IM_START] + self.header[m["role"]]
            body = self.Ids(m["content"]) + [IM_END]
            ids += head + body + self.newline
            mine = m["role"] == "assistant"
            learn += [False] * len(head) + [mine] * len(body) + [False] * len(self.newline)
        return ids[:1024], learn[:1024]

    def English(self):
        doc = self.r.choice(self.english)
        start = 0 if self.r.random() < 0.5 else self.r.randrange(len(doc))
        ids = [BOS] + doc[start:start + 127]
        if start + 127 >= len(doc):
            ids.append(EOT)
        return ids, [False] + [True] * (len(ids) - 1)

    def Fill(self):
        pool = [self.English() if self.r.random() < 0.015 else self.Conversation() for _ in range(3000)]
        pool.sort(key=lambda s: len(s[0]))
        while pool:
            length = PadLength(len(pool[-1][0]))
            count = max(1, self.tokens // length)
            self.ready.append(pool[-count:])
            del pool[-count:]
        self.r.shuffle(self.ready)

    def Next(self):
        if not self.ready:
            self.Fill()
        batch = self.ready.pop()
        length = PadLength(max(len(ids) for ids, _ in batch))
        x = torch.full((len(batch), length), PAD)
        rows, targets = [], []
        for b, (ids, learn) in enumerate(batch):
            x[b, :len(ids) - 1] = torch.tensor(ids[:-1])
            for i in range(1, len(ids)):
                if learn[i]:
                    rows.append(b * length + i - 1)
                    targets.append(ids[i])
        return x, torch.tensor(rows), torch.tensor(targets)


def Answer(net, tokenizer, messages, limit=48):
    """Greedy answer of the training model; no cache, the answers are short."""
    text = "".join(f"<|im_start|>{m['role']}\n{m['content']}<|im_end|>\n" for m in messages) + "<|im_start|>assistant\n"
    ids = tokenizer.encode(text).ids
    out = []
    with torch.no_grad():
        while len(out) < limit:
            token = net.logits(torch.tensor([ids + out]))[0, -1].argmax().item()
            if token in (IM_END, EOT):
                break
            out.append(token)
    return tokenizer.decode(out)


def QuickScore(net, tokenizer, every):
    rows = corpus.BuildHeldOut()[::every]
    right = {}
    for row in rows:
        right.setdefault(row["category"], []).append(Answer(net, tokenizer, row["messages"]).strip() == row["answer"])
    total = sum(sum(v) for v in right.values())
    return f"{total}/{len(rows)} " + " ".join(f"{k}:{sum(v)}/{len(v)}" for k, v in right.items())


def Export(net, size, tokenizer_path):
    from safetensors.torch import save_file
    config = SIZES[size]["config"]
    folder = os.path.join(ROOT, SIZES[size]["folder"])
    os.makedirs(folder, exist_ok=True)
    def Write(name, value):
        with open(os.path.join(folder, name), "w", encoding="utf-8") as f:
            json.dump(value, f, indent=2, ensure_ascii=False)
            f.write("\n")
    tensors = {k: v.detach().to(torch.bfloat16).contiguous() for k, v in net.state_dict().items()}
    temporary = os.path.join(folder, ".model.safetensors.new")
    save_file(tensors, temporary, metadata={"format": "pt"})
    os.chmod(temporary, 0o644)
    os.replace(temporary, os.path.join(folder, "model.safetensors"))
    Write("config.json", {
        "architectures": ["LlamaForCausalLM"], "model_type": "llama", "vocab_size": config.vocab_size,
        "hidden_size": config.hidden_size, "intermediate_size": config.intermediate_size, "num_hidden_layers": config.num_layers,
        "num_attention_heads": config.num_heads, "num_key_value_heads": config.num_kv_heads, "head_dim": config.head_dim,
        "hidden_act": "silu", "max_position_embeddings": 1024, "rms_norm_eps": config.rms_norm_eps, "rope_theta": config.rope_theta,
        "rope_scaling": None, "attention_bias": False, "attention_dropout": 0.0, "mlp_bias": False, "initializer_range": 0.02,
        "pretraining_tp": 1, "tie_word_embeddings": True, "torch_dtype": "bfloat16", "use_cache": True,
        "bos_token_id": BOS, "eos_token_id": [IM_END, EOT], "pad_token_id": PAD})
    Write("generation_config.json", {"bos_token_id": BOS, "eos_token_id": [IM_END, EOT], "pad_token_id": PAD,
                                     "do_sample": False})
    def Added(text):
        return {"content": text, "lstrip": False, "normalized": False, "rstrip": False, "single_word": False, "special": True}
    Write("tokenizer_config.json", {
        "added_tokens_decoder": {str(i): Added(text) for i, text in enumerate(SPECIAL)},
        "bos_token": SPECIAL[BOS], "eos_token": SPECIAL[IM_END], "pad_token": SPECIAL[PAD], "chat_template": CHAT_TEMPLATE,
        "clean_up_tokenization_spaces": False, "model_input_names": ["input_ids", "attention_mask"], "model_max_length": 1024,
        "tokenizer_class": "PreTrainedTokenizerFast"})
    Write("special_tokens_map.json", {"bos_token": SPECIAL[BOS], "eos_token": SPECIAL[IM_END], "pad_token": SPECIAL[PAD]})
    with open(tokenizer_path, encoding="utf-8") as f:
        text = f.read()
    with open(os.path.join(folder, "tokenizer.json"), "w", encoding="utf-8") as f:
        f.write(text)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=SIZES, default="main")
    parser.add_argument("--minutes", type=float, default=60, help="training time of the whole schedule, over all resumptions")
    parser.add_argument("--batch-tokens", type=int, default=2048)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--work", default=os.path.join(ROOT, "build", "demo_model"), help="checkpoints and log")
    parser.add_argument("--score-minutes", type=float, default=12)
    parser.add_argument("--rate", type=float, help="peak learning rate, instead of that of the size")
    parser.add_argument("--focus", default="", help="tasks to practise more, as Add=3,Sub=2; for a last round on what is still weak")
    parser.add_argument("--export-only", action="store_true")
    args = parser.parse_args()
    os.makedirs(args.work, exist_ok=True)
    torch.set_num_threads(args.threads)
    tokenizer_path = os.path.join(args.work, "tokenizer.json")
    if not os.path.exists(tokenizer_path):
        BuildTokenizer(tokenizer_path)
    tokenizer = Tokenizer.from_file(tokenizer_path)
    checkpoint_path = os.path.join(args.work, f"{args.size}.pt")

    torch.manual_seed(args.seed)
    config = SIZES[args.size]["config"]
    net = Net(config)
    decay = [p for p in net.parameters() if p.dim() == 2]
    rest = [p for p in net.parameters() if p.dim() != 2]
    peak = args.rate or SIZES[args.size]["learning_rate"]
    focus = {name: float(factor) for name, factor in (x.split("=") for x in args.focus.split(",") if x)}
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": 0.05}, {"params": rest, "weight_decay": 0.0}],
                                  lr=peak, betas=(0.9, 0.98), fused=True)
    step, tokens, spent, round_number = 0, 0, 0.0, 0
    if os.path.exists(checkpoint_path):
        saved = torch.load(checkpoint_path)
        net.load_state_dict(saved["net"])
        optimizer.load_state_dict(saved["optimizer"])
        step, tokens, spent, round_number = saved["step"], saved["tokens"], saved["spent"], saved["round"] + 1
    if args.export_only:
        Export(net, args.size, tokenizer_path)
        return
    samples = Samples(tokenizer, args.seed * 1000 + round_number, args.batch_tokens, focus)
    log = open(os.path.join(args.work, f"{args.size}.log"), "a", encoding="utf-8")
    def Say(text):
        print(text, flush=True)
        print(text, file=log, flush=True)
    Say(f"{sum(p.numel() for p in net.parameters())} parameters, at step {step}")

    def Save():
        torch.save({"net": net.state_dict(), "optimizer": optimizer.state_dict(), "step": step, "tokens": tokens,
                    "spent": spent, "round": round_number}, checkpoint_path + ".new")
        os.replace(checkpoint_path + ".new", checkpoint_path)

    total = args.minutes * 60
    last_save = last_score = spent
    mean = None
    while spent < total:
        begin = time.monotonic()
        # Cosine over the time budget rather than over steps: the machine's speed is not known beforehand.
        rate = peak * min(1.0, (step + 1) / 150) * (0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * min(1.0, spent / total))))
        for group in optimizer.param_groups:
            group["lr"] = rate
        x, rows, targets = samples.Next()
        with torch.autocast("cpu", torch.bfloat16):
            loss = net(x, rows, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        step += 1
        tokens += x.numel()
        mean = loss.item() if mean is None else 0.98 * mean + 0.02 * loss.item()
        spent += time.monotonic() - begin
        if step in (5, 20) or step % 50 == 0:
            Say(f"step {step} loss {mean:.4f} tokens {tokens / 1e6:.2f}M minutes {spent / 60:.2f} rate {rate:.2e}")
        if spent - last_save > 150:
            last_save = spent
            Save()
        if spent - last_score > args.score_minutes * 60:
            last_score = spent
            Say("score " + QuickScore(net, tokenizer, every=8))
    Save()
    Export(net, args.size, tokenizer_path)
    Say("score " + QuickScore(net, tokenizer, every=1))


if __name__ == "__main__":
    # Keep freed activations in the process: giving them back to the kernel at each step costs more than the arithmetic.
    # Waiting threads sleep: spinning costs most of the speed on a shared machine.
    wanted = {"OMP_WAIT_POLICY": "passive", "MALLOC_ARENA_MAX": "1", "MALLOC_MMAP_THRESHOLD_": str(1 << 34), "MALLOC_TRIM_THRESHOLD_": str(1 << 34),
              "MALLOC_TOP_PAD_": str(1 << 28),
              "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1"}
    if any(os.environ.get(k) != v for k, v in wanted.items()):
        os.environ.update(wanted)
        os.execv(sys.executable, [sys.executable] + sys.argv)
    main()
