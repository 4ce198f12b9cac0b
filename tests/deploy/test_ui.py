"""The page /ui in a real browser: Debian's Chromium, with real clicks and keys."""

import hashlib
import os
import pathlib
import re
import shutil
import time
import urllib.error
import urllib.request

import pytest
from daemon import GENERATED, Daemon

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect

QUESTION = "What is 2+3?"
LONG = "What is the KV cache?"  # answered in a sentence of some twenty tokens
# The label of a chart, e.g. "Time to first token: p50 12.3 ms, p95 20 ms".
REACHED = re.compile(r": p50 [\d.]+ ms, p95 [\d.]+ ms")
SHOTS = pathlib.Path(os.environ.get("INFERD_SCREENSHOTS", GENERATED / "screenshots"))


def get(daemon, path):
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{daemon.address}{path}", timeout=10) as reply:
            return reply.status, dict(reply.headers), reply.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, dict(error.headers), error.read().decode()


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        # As root, and in containers, its own sandbox cannot be set up.
        running = playwright.chromium.launch(executable_path=program, args=["--no-sandbox", "--disable-gpu"])
        yield running
        running.close()


@pytest.fixture(scope="module")
def ui():
    with Daemon("--ui") as daemon:
        yield daemon


@pytest.fixture(scope="module")
def slow_ui():
    """By the reference backend, so that there is time to watch an answer grow."""
    with Daemon("--ui", "--backend=ref") as daemon:
        yield daemon


class Page:
    """A tab, and what went wrong in it."""

    def __init__(self, browser, daemon, **context):
        self._context = browser.new_context(viewport={"width": 1280, "height": 800}, **context)
        self.page = self._context.new_page()
        self.problems = []
        self.requests = []
        self.page.on("console", lambda m: self.problems.append(m.text) if m.type == "error" else None)
        self.page.on("pageerror", lambda error: self.problems.append(str(error)))
        self.page.on("request", lambda request: self.requests.append(request))
        self.page.goto(f"http://{daemon.address}/ui")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._context.close()

    def ask(self, text):
        self.page.get_by_label("Message").fill(text)
        self.page.get_by_role("button", name="Send").click()

    def last_answer(self):
        return self.page.locator("#messages li.assistant").last

    def shot(self, name):
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"{name}.png")


def test_it_is_off_by_default(shared_daemon):
    assert get(shared_daemon, "/ui")[0] == 404
    assert get(shared_daemon, "/ui/app.js")[0] == 404


def test_headers(ui):
    for path, kind in (("/ui", "text/html"), ("/ui/app.js", "text/javascript"), ("/ui/style.css", "text/css")):
        status, headers, _ = get(ui, path)
        headers = {name.lower(): value for name, value in headers.items()}
        assert status == 200 and headers["content-type"].startswith(kind)
        policy = headers["content-security-policy"]
        assert "default-src 'none'" in policy and "unsafe" not in policy
        assert headers["x-content-type-options"] == "nosniff"
    assert get(ui, "/ui/../etc/passwd")[0] in (400, 404)


def test_a_chat_with_two_turns(ui, browser):
    with Page(browser, ui) as tab:
        page = tab.page
        expect(page.locator("#model")).to_have_text("demo")
        expect(page.locator("#state")).to_have_text("ready")
        page.get_by_label("Temperature").fill("0")
        tab.ask(QUESTION)
        expect(tab.last_answer().locator(".text")).to_contain_text("5")
        expect(tab.last_answer().locator(".figures")).to_contain_text("tokens")
        # With the keyboard alone.
        page.get_by_label("Message").fill("What is 3+4?")
        page.keyboard.press("Enter")
        expect(page.locator("#messages li")).to_have_count(4)
        expect(tab.last_answer().locator(".text")).to_contain_text("7")
        sent = [r for r in tab.requests if r.url.endswith("/v1/chat/completions")]
        assert [len(r.post_data_json["messages"]) for r in sent] == [1, 3]
        assert all(r.post_data_json["stream"] for r in sent)
        page.get_by_role("button", name="New conversation").click()
        expect(page.locator("#messages li")).to_have_count(0)
        assert not tab.problems
        # Everything came from the daemon itself.
        assert {r.url.split("/")[2] for r in tab.requests} == {ui.address}


def test_the_answer_comes_in_pieces(slow_ui, browser):
    with Page(browser, slow_ui) as tab:
        page = tab.page
        expect(page.locator("#model")).to_have_text("demo")
        page.evaluate("""() => {
            window.lengths = [];
            new MutationObserver(() => window.lengths.push(
                document.querySelector("#messages li.assistant .text")?.textContent.length ?? 0))
              .observe(document.querySelector("#messages"), {childList: true, subtree: true, characterData: true});
        }""")
        page.get_by_label("Temperature").fill("0")
        tab.ask(LONG)
        expect(tab.last_answer().locator(".figures")).to_be_visible(timeout=30_000)
        lengths = page.evaluate("window.lengths")
        assert len(set(lengths)) > 5 and lengths == sorted(lengths), lengths
        assert not tab.problems


def test_an_answer_can_be_stopped(slow_ui, browser):
    before = slow_ui.metric("inferd_requests_ended_total", outcome="cancelled")
    with Page(browser, slow_ui) as tab:
        page = tab.page
        expect(page.locator("#model")).to_have_text("demo")
        page.get_by_label("Temperature").fill("0")
        tab.ask(LONG)
        expect(tab.last_answer().locator(".text")).not_to_have_text("", timeout=30_000)
        page.get_by_role("button", name="Stop").click()
        expect(tab.last_answer().locator(".figures")).to_have_text("stopped")
        expect(page.get_by_role("button", name="Send")).to_be_enabled()
        assert not tab.problems
    end = time.monotonic() + 10
    while slow_ui.metric("inferd_requests_ended_total", outcome="cancelled") == before:
        assert time.monotonic() < end, "the daemon went on computing"
        time.sleep(0.05)


def test_the_charts_draw_what_happens(ui, browser):
    with Page(browser, ui) as tab:
        page = tab.page
        charts = page.locator("#charts canvas")
        expect(charts).to_have_count(5)
        pixels = """() => [...document.querySelectorAll("#charts canvas")].map((c) => c.toDataURL())"""
        expect(page.locator("#charts")).to_contain_text("running 0", timeout=10_000)
        before = page.evaluate(pixels)
        for _ in range(4):
            tab.ask(QUESTION)
            expect(tab.last_answer().locator(".figures")).to_be_visible()
        # The next looks at /metrics have seen them.
        expect(charts.nth(2)).to_have_attribute("aria-label", REACHED, timeout=15_000)
        expect(charts.nth(3)).to_have_attribute("aria-label", REACHED, timeout=15_000)
        after = page.evaluate(pixels)
        assert sum(a != b for a, b in zip(before, after)) >= 3
        tab.shot("light")
        assert not tab.problems


def test_dark(ui, browser):
    with Page(browser, ui, color_scheme="dark") as tab:
        expect(tab.page.locator("#model")).to_have_text("demo")
        tab.ask(QUESTION)
        expect(tab.last_answer().locator(".figures")).to_be_visible()
        dark = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
        tab.shot("dark")
    with Page(browser, ui, color_scheme="light") as tab:
        light = tab.page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert brightness(dark) < 64 and brightness(light) > 192


def channels(colour):
    return [int(part) for part in re.findall(r"\d+", colour)[:3]]


def brightness(colour):
    return sum(channels(colour)) / 3


def contrast(one, other):
    """As WCAG 2 defines it."""

    def luminance(colour):
        linear = [c / 255 / 12.92 if c / 255 <= 0.04045 else ((c / 255 + 0.055) / 1.055) ** 2.4
                  for c in channels(colour)]
        return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]

    high, low = sorted((luminance(one), luminance(other)), reverse=True)
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_can_be_read(ui, browser, scheme):
    """Every text has the contrast that WCAG asks for (AA: 4.5)."""
    with Page(browser, ui, color_scheme=scheme) as tab:
        expect(tab.page.locator("#state")).to_have_text("ready")
        tab.ask(QUESTION)
        expect(tab.last_answer().locator(".figures")).to_be_visible()
        pairs = tab.page.evaluate("""() => {
            const opaque = (e) => {
              for (; e; e = e.parentElement) {
                const colour = getComputedStyle(e).backgroundColor;
                if (!colour.endsWith(", 0)")) return colour;
              }
            };
            return [...document.querySelectorAll("h1, h2, p, label, button:not(:disabled), .who, .text, .figures, figcaption span")]
              .filter((e) => e.offsetParent && e.textContent.trim())
              .map((e) => [e.textContent.trim().slice(0, 30), getComputedStyle(e).color, opaque(e)]);
        }""")
        assert len(pairs) > 15
        poor = [(text, contrast(ink, paper)) for text, ink, paper in pairs if contrast(ink, paper) < 4.5]
        assert not poor


def test_assistive_technology_finds_its_way(ui, browser):
    with Page(browser, ui) as tab:
        page = tab.page
        for role, name in (("log", "Conversation"), ("textbox", "Message"), ("spinbutton", "Temperature"),
                           ("spinbutton", "Longest answer"), ("button", "Send"), ("button", "API key")):
            expect(page.get_by_role(role, name=name)).to_be_visible()
        assert page.locator("html").get_attribute("lang") == "en"
        for chart in page.locator("#charts canvas").all():
            assert chart.get_attribute("role") == "img" and ":" in chart.get_attribute("aria-label")
        unlabelled = page.evaluate("""() => [...document.querySelectorAll("input, textarea")]
            .filter((e) => e.labels.length === 0).map((e) => e.id)""")
        assert unlabelled == []
        # The tab key reaches everything, in the order of the page.
        page.keyboard.press("Tab")
        order = []
        for _ in range(8):
            order.append(page.evaluate("document.activeElement.id"))
            page.keyboard.press("Tab")
        assert order[:4] == ["key-button", "messages", "prompt", "temperature"]


def test_a_narrow_window_needs_no_sideways_scrolling(ui, browser):
    with Page(browser, ui) as tab:
        tab.page.set_viewport_size({"width": 360, "height": 740})
        assert tab.page.evaluate("document.documentElement.scrollWidth") <= 360
        tab.shot("narrow")


def test_text_of_the_model_is_never_markup(ui, browser):
    with Page(browser, ui) as tab:
        expect(tab.page.locator("#model")).to_have_text("demo")
        tab.ask("<img src=x onerror=document.title='broken'><b>bold</b>")
        expect(tab.last_answer().locator(".figures")).to_be_visible()
        assert tab.page.title() == "inferd"
        assert tab.page.locator("#messages img, #messages b").count() == 0


def test_it_asks_for_a_key_and_keeps_it_in_memory(browser, tmp_path):
    secret = "sk-inferd-test-" + "x" * 30
    keys = tmp_path / "keys.yaml"
    keys.write_text(f"keys:\n  - id: page\n    sha256: {hashlib.sha256(secret.encode()).hexdigest()}\n")
    keys.chmod(0o600)
    with Daemon("--ui", f"--api-keys-file={keys}") as daemon, Page(browser, daemon) as tab:
        page = tab.page
        dialog = page.locator("#key-dialog")
        expect(dialog).to_be_visible()
        page.get_by_label("Key", exact=True).fill("sk-inferd-wrong")
        page.get_by_role("button", name="Use this key").click()
        expect(dialog).not_to_be_visible()
        tab.ask(QUESTION)
        expect(dialog).to_be_visible()  # the wrong key was refused
        assert page.get_by_label("Message").input_value() == QUESTION  # and nothing was lost
        page.get_by_label("Key", exact=True).fill(secret)
        page.keyboard.press("Enter")
        expect(page.locator("#model")).to_have_text("demo", timeout=10_000)
        page.get_by_role("button", name="Send").click()
        expect(tab.last_answer().locator(".figures")).to_be_visible()
        kept = page.evaluate("JSON.stringify([{...localStorage}, {...sessionStorage}, document.cookie, location.href])")
        assert secret not in kept and secret not in page.content()
        tab.shot("key")
        page.reload()
        expect(dialog).to_be_visible()
