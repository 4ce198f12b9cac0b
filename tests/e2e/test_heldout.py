"""The demo model answers as recorded, question by question."""

import concurrent.futures
import json

import pytest
from daemon import ROOT

EXPECTED = ROOT / "tests" / "e2e" / "heldout_expected.jsonl"


def test_answers_agree(client):
    """Greedy answers equal those that transformers gave for the same weights."""
    if not EXPECTED.exists():
        pytest.skip("tests/e2e/heldout_expected.jsonl does not exist")
    cases = [json.loads(line) for line in EXPECTED.read_text().splitlines() if line.strip()]
    assert cases

    def ask(case):
        messages = [(m["role"], m["content"]) for m in case["messages"]]
        return client.text(messages, temperature=0, max_tokens=case.get("max_tokens", 64))

    with concurrent.futures.ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, cases))
    wrong = [(case["messages"][-1]["content"], case["expected"], answer)
             for case, answer in zip(cases, answers) if answer != case["expected"]]
    assert not wrong, f"{len(wrong)} of {len(cases)} differ, first: {wrong[:3]}"
