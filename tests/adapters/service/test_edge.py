"""What every caller meets: states, token, page, description, and answers to nonsense."""

from __future__ import annotations

import re
import socket

import httpx2
import pytest
from raw_http import answer, chunked, head
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
    # The script's own modules.
    script = caller.get("/page/app.js").text
    named += [f"/page/{name}" for name in re.findall(r'from "\./([^"]+)"', script)]
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
    for text in (*texts, docs):
        assert not OUTSIDE.search(text)


@pytest.mark.parametrize(
    ("accept", "html"),
    [
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", True),
        ("TEXT/HTML", True),
        ("application/json;q=0.5, text/html", True),
        ("application/json", False),
        ("application/json, text/html;q=0.9", False),
        ("application/problem+json, text/html;q=0.1", False),
        ("text/html;q=0, */*", False),
        ("text/html;q=x", False),
        ("*/*", False),
        ("", False),
    ],
)
def test_what_is_not_there_is_a_page_to_a_browser(
    caller: httpx2.Client, accept: str, html: bool
) -> None:
    for path in ("/nothing", "/page/nothing.js", "/a/b?c=d"):
        found = caller.get(path, headers={"accept": accept})
        if not html:
            problem(found, 404, "not-found")
            continue
        assert found.status_code == 404
        assert found.headers["content-type"].startswith("text/html")
        assert "default-src 'none'" in found.headers["content-security-policy"]
        assert not OUTSIDE.search(found.text)
        for asset in re.findall(r'(?:src|href)="(/[^"#]*)"', found.text):
            assert caller.get(asset).status_code == 200, asset


def test_the_icon(caller: httpx2.Client) -> None:
    for path in ("/favicon.ico", "/page/icon.svg"):
        icon = caller.get(path)
        assert icon.status_code == 200
        assert icon.headers["content-type"] == "image/svg+xml"
    assert '<link rel="icon" href="/page/icon.svg"' in caller.get("/").text


def test_problems_are_listed(caller: httpx2.Client) -> None:
    facts = problem(caller.get("/nothing"), 404, "not-found")
    page, _, name = str(facts["type"]).partition("#")
    assert name in caller.get(page).text


def test_methods(caller: httpx2.Client) -> None:
    answer = caller.get("/score")
    problem(answer, 405, "bad-method")
    assert answer.headers["allow"] == "POST"
    answer = caller.delete("/health")
    problem(answer, 405, "bad-method")
    assert answer.headers["allow"] == "GET, HEAD"


@pytest.mark.parametrize(
    "path", ["/", "/health", "/info", "/docs", "/page/app.js", "/openapi.json", "/nothing"]
)
def test_head_is_get_without_a_body(caller: httpx2.Client, path: str) -> None:
    found, whole = caller.head(path), caller.get(path)
    assert found.status_code == whole.status_code
    assert found.content == b""
    found.headers.pop("date")
    whole.headers.pop("date")
    assert found.headers == whole.headers
    # The connection is still in step.
    assert caller.get("/health").json() == {"status": "ok"}


def test_another_host_is_refused_everywhere_unless_a_token_is_asked_for(
    trained: tuple[str, str], caller: httpx2.Client
) -> None:
    evil = {"host": "evil.example"}
    for path in ("/", "/health", "/info", "/records", "/page/app.js", "/nothing"):
        problem(caller.get(path, headers=evil), 421, "other-host")
    problem(caller.post("/score", json={}, headers=evil), 421, "other-host")
    with opened(trained[1]) as served:
        with running(served, token="word") as address, client(address) as other:
            assert other.get("/health", headers=evil).status_code == 200
            problem(other.get("/info", headers=evil), 401, "unauthorised")
        with running(served, names=("evil.example",)) as address, client(address) as other:
            assert other.get("/info", headers=evil).status_code == 200


def test_a_page_elsewhere_cannot_post(caller: httpx2.Client) -> None:
    """Without asking first it can send but forms and plain texts; and asking is answered no."""
    origin = {"origin": "http://evil.example"}
    for media in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        answer = caller.post("/score", content=b"{}", headers={**origin, "content-type": media})
        problem(answer, 415, "unknown-media")
    asks = {**origin, "access-control-request-method": "POST"}
    answer = caller.options("/score", headers=asks)
    problem(answer, 405, "bad-method")
    assert not [name for name in answer.headers if name.startswith("access-control")]
    assert "access-control-allow-origin" not in caller.get("/info", headers=origin).headers


@pytest.mark.parametrize("media", ["text/plain", "application/x-npy", "", "multipart/form-data"])
def test_other_content_types(caller: httpx2.Client, media: str) -> None:
    answer = caller.post("/score", content=b"{}", headers={"content-type": media})
    problem(answer, 415, "unknown-media")


def test_without_the_token_no_body_is_read(trained: tuple[str, str]) -> None:
    """It is not even asked for, and the connection is not used again."""
    expect = b"expect: 100-continue\r\ncontent-type"
    with opened(trained[1]) as served, running(served, token="word") as address:
        for asked in (head(2**24), chunked(), chunked("/nothing"), head(10, "text/plain")):
            place = ("127.0.0.1", int(address.rpartition(":")[2]))
            with socket.create_connection(place, 10) as connection:
                connection.sendall(asked.replace(b"content-type", expect))
                found = answer(connection)
                assert found.startswith(b"HTTP/1.1 401 ")
                assert b"\r\nconnection: close\r\n" in found


def test_a_token(trained: tuple[str, str]) -> None:
    with opened(trained[1]) as served, running(served, token="word") as address:
        with client(address) as caller:
            for path in ("/", "/page/app.js", "/favicon.ico", "/health", "/ready", "/problems"):
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
