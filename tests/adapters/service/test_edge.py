"""What every caller meets: states, token, page, description, and answers to nonsense."""

from __future__ import annotations

import re

import httpx2
import pytest
from services import client, opened, problem, running

OUTSIDE = re.compile(r"""(?:src|href|url)\s*[=(]\s*["']?(?:https?:)?//""")


def test_states(caller: httpx2.Client) -> None:
    assert caller.get("/health").json() == {"status": "ok"}
    assert caller.get("/ready").json() == {"status": "ready"}
    counts = caller.get("/metrics")
    assert counts.headers["content-type"].startswith("text/plain")
    assert 'rjepa_requests_total{path="/health",status="200"}' in counts.text


def test_the_page_needs_no_other_host(caller: httpx2.Client) -> None:
    page = caller.get("/")
    assert page.headers["content-type"].startswith("text/html")
    assert "default-src 'none'" in page.headers["content-security-policy"]
    named = re.findall(r'(?:src|href)="(/[^"#]*)"', page.text)
    assert {"/page/style.css", "/page/app.js"} <= set(named)
    texts = [page.text]
    for path in named:
        answer = caller.get(path)
        assert answer.status_code == 200, path
        texts.append(answer.text)
        assert answer.headers["x-content-type-options"] == "nosniff"
    docs = caller.get("/docs").text
    for path in re.findall(r'(?:src|href)="(/[^"#]*)"', docs):
        assert caller.get(path).status_code == 200, path
    for text in (page.text, caller.get("/page/style.css").text, docs):
        assert not OUTSIDE.search(text)


def test_problems_are_listed(caller: httpx2.Client) -> None:
    facts = problem(caller.get("/nothing"), 404, "not-found")
    page, _, name = str(facts["type"]).partition("#")
    assert name in caller.get(page).text


def test_methods(caller: httpx2.Client) -> None:
    answer = caller.get("/score")
    problem(answer, 405, "bad-method")
    assert answer.headers["allow"] == "POST"
    problem(caller.delete("/health"), 405, "bad-method")


@pytest.mark.parametrize("media", ["text/plain", "application/x-npy", "", "multipart/form-data"])
def test_other_content_types(caller: httpx2.Client, media: str) -> None:
    answer = caller.post("/score", content=b"{}", headers={"content-type": media})
    problem(answer, 415, "unknown-media")


def test_a_token(trained: tuple[str, str]) -> None:
    with opened(trained[1]) as served, running(served, token="word") as address:
        with client(address) as caller:
            for path in ("/", "/page/app.js", "/health", "/ready", "/problems"):
                assert caller.get(path).status_code == 200
            for path in ("/info", "/metrics", "/openapi.json", "/docs", "/records", "/nothing"):
                answer = caller.get(path)
                problem(answer, 401, "unauthorised")
                assert answer.headers["www-authenticate"] == "Bearer"
            for given in ("Bearer", "Bearer wor", "Bearer word word", "Basic word", "Bearer wörd"):
                headers = {"authorization": given.encode()}
                problem(caller.post("/score", json={}, headers=headers), 401, "unauthorised")
        with client(address, headers={"authorization": "Bearer word"}) as caller:
            assert caller.get("/info").status_code == 200
            described = caller.get("/openapi.json").json()
            assert described["components"]["securitySchemes"]["token"]["scheme"] == "bearer"
