"""Scores a demo model on the held-out questions with transformers' greedy decoding in float32.

  python evaluate.py --model ../../models/demo [--write ../../tests/e2e/heldout_expected.jsonl] [--show 20]

An answer is right when it equals the expected one after strip(). --write records text and token ids of every answer.
"""

import argparse
import collections
import json
import os

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer

HERE = os.path.dirname(os.path.abspath(__file__))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=os.path.join(HERE, "..", "..", "models", "demo"))
    parser.add_argument("--heldout", default=os.path.join(HERE, "heldout.jsonl"))
    parser.add_argument("--write", help="file for the answers, one JSON object a line")
    parser.add_argument("--show", type=int, default=0, help="wrong answers to print")
    parser.add_argument("--max-new-tokens", type=int, default=64)
    parser.add_argument("--threads", type=int, default=1)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    tokenizer = AutoTokenizer.from_pretrained(args.model)
    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32).eval()
    ends = model.generation_config.eos_token_id
    with open(args.heldout, encoding="utf-8") as f:
        rows = [json.loads(line) for line in f]
    category, task, wrong, out = collections.defaultdict(list), collections.defaultdict(list), [], []
    margin = float("inf")
    for row in rows:
        ids = tokenizer.apply_chat_template(row["messages"], add_generation_prompt=True, return_dict=True)["input_ids"]
        answer, past, step = [], None, torch.tensor([ids])
        with torch.no_grad():
            while len(answer) < args.max_new_tokens:
                result = model(step, past_key_values=past, use_cache=True)
                past = result.past_key_values
                top = torch.topk(result.logits[0, -1], 2)
                margin = min(margin, (top.values[0] - top.values[1]).item())
                answer.append(top.indices[0].item())
                if answer[-1] in ends:
                    break
                step = torch.tensor([answer[-1:]])
        # The end token is part of the ids, as the engine sees it, and not of the text.
        text = tokenizer.decode(answer, skip_special_tokens=True)
        right = text.strip() == row["answer"]
        category[row["category"]].append(right)
        task[row["task"]].append(right)
        if not right:
            wrong.append((row, text))
        out.append({"messages": row["messages"], "answer": row["answer"], "transformers": text, "token_ids": answer})
    for name, table in (("task", task), ("category", category)):
        for key, values in table.items():
            print(f"{name:9s} {key:15s} {sum(values):4d} / {len(values):4d}  {100 * sum(values) / len(values):5.1f} %")
    total = [v for values in category.values() for v in values]
    print(f"all {sum(total)} / {len(total)}  {100 * sum(total) / len(total):.1f} %, smallest gap of the two best logits {margin:.5f}")
    for row, text in wrong[:args.show]:
        print(json.dumps(row["messages"][-1]["content"]), "expected", json.dumps(row["answer"]), "got", json.dumps(text))
    if args.write:
        with open(args.write, "w", encoding="utf-8") as f:
            f.write("".join(json.dumps(row) + "\n" for row in out))


if __name__ == "__main__":
    main()
