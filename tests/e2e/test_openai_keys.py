"""Keys over HTTP, with OpenAI's client."""

import openai
import pytest
from daemon import Daemon, run

QUESTION = [{"role": "user", "content": "hi"}]


@pytest.fixture(scope="module")
def locked(tmp_path_factory):
    """A daemon with keys, and the secrets by id."""
    path = tmp_path_factory.mktemp("keys") / "keys.yaml"
    secrets, text = {}, "keys:\n"
    for name, flags in {"alice": [], "bob": ["--models", "other"], "carol": ["--rpm", "1"]}.items():
        secrets[name], _, lines = run("key", "new", "--id", name, *flags).stdout.partition("\n")
        text += lines
    path.write_text(text)
    with Daemon(f"--api-keys-file={path}") as daemon:
        yield daemon, secrets


def ask(daemon, secret, **fields):
    api = openai.OpenAI(base_url=f"http://{daemon.address}/v1", api_key=secret, max_retries=0)
    return api.chat.completions.create(model="demo", messages=QUESTION, max_tokens=2, **fields)


def test_a_key_opens_the_door(locked):
    daemon, secrets = locked
    assert ask(daemon, secrets["alice"]).usage.completion_tokens >= 1
    assert list(ask(daemon, secrets["alice"], stream=True))
    for wrong in ("none", secrets["alice"][:-1], secrets["alice"] + "x"):
        with pytest.raises(openai.AuthenticationError) as caught:
            ask(daemon, wrong)
        assert caught.value.code == "unauthenticated"
        assert caught.value.response.headers["www-authenticate"] == "Bearer"
    with pytest.raises(openai.PermissionDeniedError):
        ask(daemon, secrets["bob"])
    assert secrets["alice"] not in daemon.log()


def test_a_limit_says_when_to_come_back(locked):
    daemon, secrets = locked
    ask(daemon, secrets["carol"])
    with pytest.raises(openai.RateLimitError) as caught:
        ask(daemon, secrets["carol"])
    assert caught.value.code == "rate_limited"
    assert int(caught.value.response.headers["retry-after"]) >= 1


def test_without_a_key_there_are_only_probes(locked):
    daemon, _ = locked
    api = openai.OpenAI(base_url=f"http://{daemon.address}", api_key="none", max_retries=0)
    for path in ("/healthz", "/readyz", "/health"):
        assert api.get(path, cast_to=str)
    for path in ("/v1/models", "/metrics", "/version", "/nothing", "/v1/models/demo"):
        with pytest.raises(openai.AuthenticationError):
            api.get(path, cast_to=object)
    with pytest.raises(openai.AuthenticationError):
        api.post("/tokenize", body={"prompt": "x"}, cast_to=object)
    assert daemon.http("/metrics")[0] == 200  # the side port
