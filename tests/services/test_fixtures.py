"""The engine and the browser that other tests are given are the real ones."""

import httpx
import pytest


@pytest.mark.vllm
@pytest.mark.sqlite
def test_the_suites_vllm_answers_with_the_starter_model(vllm_server):
    models = httpx.get(f"{vllm_server.base_url}/v1/models", timeout=30).json()
    assert "base" in [model["id"] for model in models["data"]]  # beside the adapters of other tests
    question = {"model": "base", "messages": [{"role": "user", "content": "How can I cook rice?"}], "max_tokens": 20}
    answer = httpx.post(f"{vllm_server.base_url}/v1/chat/completions", json=question, timeout=120).json()
    assert answer["choices"][0]["message"]["content"].strip()


@pytest.mark.e2e
@pytest.mark.sqlite
def test_the_suites_browser_draws_a_page(page):
    page.set_content("<title>Whetstone</title><h1>Sharp</h1>")
    assert page.title() == "Whetstone"
    assert page.locator("h1").inner_text() == "Sharp"
