"""Each sampling field, from the wire to the tokens: none is taken and then ignored."""

import pytest
from client import chat_pb2, services_pb2

QUESTION = "What is the largest of 28, 74, 25, 41?"


def ask(client, **fields):
    fields = {"temperature": 0, "return_token_ids": True, **fields}
    return client.ask(QUESTION, **fields)


def tokens(client, **fields):
    return list(ask(client, **fields).choices[0].token_ids)


@pytest.fixture
def greedy(client):
    """Token ids of the answer; the last one is the end."""
    answer = ask(client)
    choice = answer.choices[0]
    assert choice.finish_reason == chat_pb2.FINISH_REASON_STOP
    assert choice.matched_stop.token_id == choice.token_ids[-1]
    assert len(choice.token_ids) == answer.usage.completion_tokens >= 3
    return list(choice.token_ids)


@pytest.mark.parametrize("narrow", [{"top_k": 1}, {"top_p": 1e-6}, {"min_p": 1.0}], ids=str)
def test_the_narrowest_choice_is_greedy(client, greedy, narrow):
    for seed in range(4):
        assert tokens(client, temperature=2, seed=seed, **narrow) == greedy


def test_temperature(client, greedy):
    assert any(tokens(client, temperature=2, seed=s, max_tokens=8) != greedy for s in range(20))


def test_logit_bias(client, greedy):
    assert tokens(client, logit_bias={greedy[0]: -100})[0] != greedy[0]
    assert tokens(client, logit_bias={greedy[0]: 100}, max_tokens=8) == [greedy[0]] * 8


def test_penalties(client, greedy):
    """A bias makes one token repeat; each penalty ends that in its own way."""
    forced = {"ignore_eos": True, "max_tokens": 60, "logit_bias": {greedy[0]: 60}}
    assert set(tokens(client, **forced)) == {greedy[0]}
    frequency = tokens(client, frequency_penalty=2, **forced)
    assert frequency[:8] == [greedy[0]] * 8  # it grows with the count
    assert set(frequency) != {greedy[0]}
    repetition = tokens(client, repetition_penalty=100, **forced)
    assert repetition.count(greedy[0]) <= 2
    open_ended = {"ignore_eos": True, "max_tokens": 60}
    assert tokens(client, presence_penalty=2, **open_ended) != tokens(client, **open_ended)


def test_stop_token_ids(client, greedy):
    choice = ask(client, stop_token_ids=[greedy[1]]).choices[0]
    assert list(choice.token_ids) == greedy[:2]
    assert choice.finish_reason == chat_pb2.FINISH_REASON_STOP
    assert choice.matched_stop.token_id == greedy[1]
    shown = ask(client, stop_token_ids=[greedy[1]], include_stop_str_in_output=True).choices[0]
    assert shown.message.content.startswith(choice.message.content)
    assert len(shown.message.content) > len(choice.message.content)


def test_min_tokens(client, greedy):
    """Neither an end token, nor a stop token, nor a stop string ends the answer before."""
    least = len(greedy) + 8
    text = ask(client).choices[0].message.content
    for stops in ({}, {"stop_token_ids": [greedy[1]]}, {"stop": [text[0]]}):
        answer = ask(client, min_tokens=least, max_tokens=200, **stops)
        assert answer.usage.completion_tokens > least, stops
    assert greedy[-1] not in tokens(client, min_tokens=least, max_tokens=200)[:least]


def test_ignore_eos(client, greedy):
    answer = ask(client, ignore_eos=True, max_tokens=20, skip_special_tokens=False)
    assert answer.usage.completion_tokens == 20
    assert list(answer.choices[0].token_ids)[:len(greedy)] == greedy
    assert "<|im_end|>" in answer.choices[0].message.content


def test_seeds(client):
    fields = {"temperature": 1.8, "ignore_eos": True, "max_tokens": 24}
    runs = [tokens(client, seed=seed, **fields) for seed in (0, 1, -1, 2**63 - 1, -2**63)]
    assert len(set(map(tuple, runs))) == len(runs)
    assert runs[0] == tokens(client, seed=0, **fields)
    assert tokens(client, **fields) != tokens(client, **fields)  # unset is not zero


def test_choices_differ_and_share_the_prompt(client):
    fields = {"temperature": 1.8, "seed": 5, "ignore_eos": True, "max_tokens": 16}
    one = ask(client, **fields)
    many = ask(client, n=8, logprobs=True, top_logprobs=2, **fields)
    ids = [tuple(c.token_ids) for c in sorted(many.choices, key=lambda c: c.index)]
    assert len(set(ids)) == 8 and ids[0] == tuple(one.choices[0].token_ids)
    assert many.usage.prompt_tokens == one.usage.prompt_tokens
    assert many.usage.completion_tokens == 8 * 16
    for choice in many.choices:
        assert [e.token_id for e in choice.logprobs.content] == list(choice.token_ids)
        assert all(len(e.top_logprobs) == 2 for e in choice.logprobs.content)


def test_completion_from_token_ids(client):
    def complete(**prompt):
        return client.completion.CreateCompletion(services_pb2.CompletionRequest(
            temperature=0, max_tokens=12, return_token_ids=True, logprobs=2, **prompt), timeout=60)
    text = "The KV cache stores"
    ids = client.tokenizer.Tokenize(services_pb2.TokenizeRequest(text=text)).token_ids
    by_text = complete(text=text)
    by_ids = complete(token_ids=services_pb2.TokenIds(ids=ids))
    assert by_text.choices[0].text == by_ids.choices[0].text
    assert by_text.usage.prompt_tokens == by_ids.usage.prompt_tokens == len(ids)
    assert len(by_ids.choices[0].logprobs) == len(by_ids.choices[0].token_ids) == 12
