"""The simulator over HTTP: paths, access, what it rejects, its 429s, its faults and its meter."""

from __future__ import annotations

import asyncio
import io
import json
import os
import signal
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest

from runner.core.catalog import Catalogue
from runner.simulator import Lognormal, Simulator, serve, start
from runner.simulator.faults import FAULTS

CHAT = "/v1/chat/completions"
MESSAGES = "/anthropic/v1/messages"
RESPONSES = "/openai/v1/responses"
GEMINI = "/gemini/v1beta/models/gemini-2-5-pro:generateContent"


def chat(model: str = "claude-haiku-4-5", text: str = "Name a prime.", **parameters: Any) -> dict[str, Any]:
    return {"model": model, "messages": [{"role": "user", "content": text}], "max_tokens": 64, **parameters}


def responses(**parameters: Any) -> dict[str, Any]:
    return {"model": "gpt-5-mini", "input": "Name a prime.", "max_output_tokens": 256, **parameters}


def gemini(**config: Any) -> dict[str, Any]:
    parts = [{"text": "Name a prime."}]
    return {"contents": [{"role": "user", "parts": parts}], "generationConfig": {"maxOutputTokens": 512, **config}}


BODIES: dict[str, tuple[list[str], dict[str, Any]]] = {
    "chat": (["/ai-gateway/mlflow/v1/chat/completions", CHAT], chat()),
    "messages": (["/ai-gateway/anthropic/v1/messages", MESSAGES], chat()),
    "responses": (["/ai-gateway/openai/v1/responses", RESPONSES], responses()),
    "gemini": (
        [
            "/ai-gateway/gemini/v1beta/models/gemini-2-5-pro:generateContent",
            "/v1/gemini/v1beta/models/gemini-2-5-pro:generateContent",
            GEMINI,
            "/v1beta/models/databricks-gemini-2-5-pro:generateContent",
            "/v1/models/gemini-2-5-pro:generateContent",
        ],
        gemini(),
    ),
}


@pytest.mark.parametrize("dialect", BODIES)
async def test_long_and_short_paths_are_the_same(simulate: Any, post: Any, dialect: str) -> None:
    """Every path of a dialect gives the same answer to the same request."""
    simulator = await simulate()
    paths, body = BODIES[dialect]
    answers = [await post(simulator.url + path, body) for path in paths]
    assert {status for status, _, _ in answers} == {200}
    texts = [json.dumps(answer) for _, _, answer in answers]
    assert all(text.split("created")[0] == texts[0].split("created")[0] for text in texts)


async def test_both_forms_of_an_id_name_one_model(simulate: Any, post: Any) -> None:
    """With and without `databricks-` a model has one budget, and the answer's name is neither."""
    simulator = await simulate()
    for name in ("gpt-oss-120b", "databricks-gpt-oss-120b"):
        status, _, answer = await post(simulator.url + CHAT, chat(name, max_tokens=500))
        assert (status, answer["model"]) == (200, "gpt-oss-120b-simulated")
    assert simulator.meter()["limits"]["input/gpt-oss-120b"]["admitted"] == 2


async def test_some_models_answer_with_a_list_of_blocks(simulate: Any, post: Any) -> None:
    """gpt-oss-120b's content is a reasoning block and a text block; with a small cap only the reasoning is left."""
    simulator = await simulate()
    _, _, answer = await post(simulator.url + CHAT, chat("gpt-oss-120b", max_tokens=500))
    assert [block["type"] for block in answer["choices"][0]["message"]["content"]] == ["reasoning", "text"]
    _, _, answer = await post(simulator.url + CHAT, chat("gpt-oss-120b", max_tokens=10))
    assert [block["type"] for block in answer["choices"][0]["message"]["content"]] == ["reasoning"]
    assert answer["choices"][0]["finish_reason"] == "length"


async def test_gemini_counts_thoughts_beside_the_answer(simulate: Any, post: Any) -> None:
    """Output is candidates plus thoughts, and the total is everything."""
    simulator = await simulate()
    _, _, answer = await post(simulator.url + GEMINI, gemini())
    usage = answer["usageMetadata"]
    parts = usage["promptTokenCount"], usage["candidatesTokenCount"], usage["thoughtsTokenCount"]
    assert sum(parts) == usage["totalTokenCount"]


async def test_a_cut_response_is_incomplete(simulate: Any, post: Any) -> None:
    """The Responses API says why an answer is not whole."""
    simulator = await simulate()
    _, _, answer = await post(simulator.url + RESPONSES, responses(max_output_tokens=16))
    assert answer["status"] == "incomplete"
    assert answer["incomplete_details"] == {"reason": "max_output_tokens"}
    assert [item["type"] for item in answer["output"]] == ["reasoning"]


async def test_the_list_of_models(simulate: Any) -> None:
    """The list has every model by its short id, and says which the account may not use."""
    simulator = await simulate(disabled=frozenset({"gpt-5-2"}))
    headers = {"Authorization": "Bearer x"}
    async with aiohttp.ClientSession() as session, session.get(simulator.url + "/v1/models", headers=headers) as got:
        models = (await got.json())["data"]
    assert {"gpt-oss-120b", "claude-haiku-4-5"} <= {model["id"] for model in models}
    assert [model["id"] for model in models if not model["enabled"]] == ["gpt-5-2"]


@pytest.mark.parametrize(
    ("headers", "path", "expected"),
    [
        ({"Authorization": "Bearer right"}, CHAT, 200),
        ({"Authorization": "Bearer wrong"}, CHAT, 401),
        ({"Authorization": "Basic right"}, CHAT, 401),
        ({"Authorization": "Bearer "}, CHAT, 401),
        ({"x-api-key": "right", "Authorization": ""}, MESSAGES, 401),
        ({"x-goog-api-key": "right", "Authorization": ""}, GEMINI, 200),
        ({"x-goog-api-key": "right", "Authorization": ""}, CHAT, 401),
    ],
)
async def test_access(simulate: Any, post: Any, headers: dict[str, str], path: str, expected: int) -> None:
    """A Bearer token opens every dialect, Google's header its own, and Anthropic's none."""
    simulator = await simulate(token="right")
    body = gemini() if path == GEMINI else chat()
    status, _, answer = await post(simulator.url + path, body, headers=headers)
    assert status == expected
    if expected == 401:
        assert answer == {"error": {"message": "invalid or missing credential"}}


OPEN = {"type": "object", "properties": {"b": {"type": "string"}}, "required": ["b"]}
WITHIN = {"type": "object", "properties": {"a": OPEN}, "required": ["a"], "additionalProperties": False}
FORM = {"type": "json_schema", "json_schema": {"name": "answer", "strict": True, "schema": WITHIN}}
OPTIONAL = {"name": "answer", "schema": {**WITHIN, "required": None}}


def wanting(schema: Any) -> dict[str, Any]:
    """A request in Claude's own dialect for an answer of this form."""
    return chat(output_config={"format": {"type": "json_schema", "schema": schema}})


REJECTED: list[tuple[str, dict[str, Any], int, str]] = [
    (CHAT, chat("gpt-9"), 400, 'unknown model "gpt-9"'),
    (CHAT, {"messages": []}, 400, "missing or invalid model"),
    (CHAT, chat("gpt-5-3-codex"), 400, 'model "gpt-5-3-codex" is not available on the chat_completions endpoint'),
    (MESSAGES, chat("gpt-5-2"), 400, 'model "gpt-5-2" is not available on the anthropic_messages endpoint'),
    (CHAT, chat("claude-sonnet-4"), 403, "model requires a verified account"),
    (CHAT, chat(messages=[]), 400, "messages: expected a list"),
    (CHAT, chat(tools=3), 400, "tools: expected a list"),
    (CHAT, chat(max_tokens=0), 400, "max_tokens: expected an integer of at least 1"),
    (CHAT, chat(max_tokens=64_001), 400, "64001 > 64000, which is the maximum allowed number of output tokens"),
    (CHAT, chat("gpt-5-mini", max_tokens=128_001), 400, "at most 128000 completion tokens"),
    (CHAT, chat("gpt-oss-120b", max_tokens=25_001), 400, "must be less than or equal to 25000"),
    (GEMINI, gemini(maxOutputTokens=65_537), 400, "from 1 (inclusive) to 65537 (exclusive)"),
    (CHAT, chat(temperature=1, top_p=0.5), 400, "cannot both be specified"),
    (CHAT, chat(seed=1), 400, "Unsupported parameter: 'seed'"),
    (CHAT, chat("gpt-5-mini", temperature=0), 400, "Unsupported parameter: 'temperature'"),
    (CHAT, chat(reasoning_effort="low"), 400, "reasoning_effort"),
    (CHAT, chat("meta-llama-3-1-8b-instruct", reasoning_effort="low"), 400, "reasoning_effort"),
    (CHAT, chat("gpt-5-2", service_tier="flex"), 400, "service_tier='flex' is not supported by Databricks"),
    (CHAT, chat(text="word " * 160_000), 400, "prompt is too long"),
    (MESSAGES, {**chat(), "max_tokens": None}, 400, "max_tokens: Field required"),
    (
        MESSAGES,
        chat("claude-opus-4-8", thinking={"type": "enabled", "budget_tokens": 9}),
        400,
        "thinking.type.adaptive",
    ),
    (MESSAGES, chat(thinking={"type": "enabled", "budget_tokens": 64}), 400, "greater than `thinking.budget_tokens`"),
    (RESPONSES, responses(max_output_tokens=15), 400, "Expected a value >= 16, but got 15 instead."),
    (RESPONSES, responses(store=True), 400, "store is not supported by Databricks"),
    (RESPONSES, responses(previous_response_id="resp_1"), 400, "previous_response_id is not supported"),
    (CHAT, chat("gpt-5-2", response_format=FORM), 400, "In context=('properties', 'a'), 'additionalProperties' is"),
    (RESPONSES, responses(text={"format": {"type": "json_schema", "strict": True, **OPTIONAL}}), 400, "Missing 'a'."),
    (MESSAGES, wanting(OPEN), 400, "explicitly set to false"),
    (
        MESSAGES,
        wanting({"type": ["integer", "null"], "minimum": 1}),
        400,
        "For 'integer' type, property 'minimum' is not",
    ),
    (MESSAGES, wanting({"type": "string", "maxLength": 9}), 400, "For 'string' type, property 'maxLength' is not"),
    (MESSAGES, wanting({"type": "array", "minItems": 2}), 400, "For 'array' type, 'minItems' values other than 0 or 1"),
    (CHAT, chat(messages=[{"role": "human", "content": "Hi"}]), 400, "messages.0.role: expected one of system,"),
    (CHAT, chat(messages=[{"content": "Hi"}]), 400, "messages.0.role"),
    (CHAT, chat(messages=[*chat()["messages"], {"role": "system", "content": "Late."}]), 400, "once, and first"),
    (MESSAGES, chat(messages=[{"role": "system", "content": "Hi"}]), 400, "expected one of user, assistant"),
    (RESPONSES, responses(input=[{"role": "tool", "content": "Hi"}]), 400, "input.0.role"),
    (RESPONSES, responses(input=["Hi"]), 400, "input.0: expected an item"),
    (GEMINI, {"contents": [{"role": "assistant", "parts": [{"text": "Hi"}]}]}, 400, "expected one of user, model"),
    (GEMINI, {"contents": [{"role": "user", "content": "Hi"}]}, 400, "contents.0.parts: must not be empty"),
    ("/v1/embeddings", chat(), 404, "not found"),
    ("/gemini/v1beta/models/gemini-2-5-pro", gemini(), 404, "invalid gemini model path"),
    ("/gemini/v1beta/models/gemini-2-5-pro:countTokens", gemini(), 404, "unsupported gemini action"),
]


@pytest.mark.parametrize(("path", "body", "status", "message"), REJECTED, ids=range(len(REJECTED)))
async def test_what_is_rejected(
    simulate: Any, post: Any, path: str, body: dict[str, Any], status: int, message: str
) -> None:
    """What the gateway or a model does not take is answered with the status and the words that it uses."""
    simulator = await simulate(disabled=frozenset({"claude-sonnet-4"}))
    got, _, answer = await post(simulator.url + path, body)
    assert got == status
    assert message in _message(answer)
    assert all(limit["admitted"] == 0 for limit in simulator.meter()["limits"].values())


def _message(answer: Any) -> str:
    """The innermost message of an error: some are JSON wrapped in the text of another."""
    text = answer["message"] if "message" in answer else answer["error"]["message"]
    return _message(json.loads(text)) if text.startswith("{") else text


@pytest.mark.parametrize("length_is_known", [True, False])
async def test_a_body_above_four_megabytes(simulate: Any, post: Any, length_is_known: bool) -> None:
    """A body that is too large is refused, whether its length was announced or not."""
    simulator = await simulate()
    raw = json.dumps(chat(text="word " * 900_000)).encode()

    async def pieces() -> AsyncIterator[bytes]:
        for begin in range(0, len(raw), 2**16):
            yield raw[begin : begin + 2**16]

    data = io.BytesIO(raw) if length_is_known else pieces()
    session = aiohttp.ClientSession(headers={"Authorization": "Bearer x"})
    async with session, session.post(simulator.url + CHAT, data=data) as got:
        assert got.status == 413
        assert "Request size" in _message(await got.json())


async def test_the_default_temperature_passes(simulate: Any, post: Any) -> None:
    """A model that rejects temperature takes the one it has anyway, and stateless parameters that are off."""
    simulator = await simulate()
    status, _, _ = await post(simulator.url + CHAT, chat("gpt-5-mini", temperature=1))
    assert status == 200
    status, _, _ = await post(simulator.url + RESPONSES, responses(store=False, background=False))
    assert status == 200


@pytest.mark.parametrize(
    "contents",
    [
        {"parts": {"text": "Hi"}},
        {"role": "user", "parts": [{"text": "Hi"}]},
        [{"parts": [{"text": "Hi"}]}, {"role": "function", "parts": {"functionResponse": {"name": "f"}}}],
    ],
    ids=["one part", "one content", "a function's answer"],
)
async def test_a_conversation_as_googles_pages_write_it_passes(simulate: Any, post: Any, contents: Any) -> None:
    """What is alone need not stand in a list, and what a function gave may stand in a role of its own."""
    simulator = await simulate()
    assert (await post(simulator.url + GEMINI, {"contents": contents}))[0] == 200


async def test_an_open_schema_passes_where_it_need_not_be_strict(simulate: Any, post: Any) -> None:
    """OpenAI's models follow it as well as they can, and others take no notice."""
    simulator = await simulate()
    for model, strict in (("gpt-5-2", False), ("databricks-gpt-oss-120b", True)):
        form = {"type": "json_schema", "json_schema": {"name": "answer", "strict": strict, "schema": OPEN}}
        assert (await post(simulator.url + CHAT, chat(model, response_format=form)))[0] == 200


async def test_provider_errors_are_wrapped_until_october(simulate: Any, post: Any) -> None:
    """The same rejection is JSON in a text in July, and the gateway's own words in October."""
    body = responses(max_output_tokens=15)
    july, october = await simulate(), await simulate(generation="october")
    _, _, answer = await post(july.url + RESPONSES, body)
    assert json.loads(answer["message"])["error"]["code"] == "integer_below_min_value"
    _, _, answer = await post(october.url + RESPONSES, body)
    assert answer["message"].startswith("ai gateway upstream model rejected the request: Invalid")


@pytest.mark.parametrize("raw", [b"", b"{", b"[]", b"null", b'"x"'])
async def test_bodies_that_are_no_requests(simulate: Any, post: Any, raw: bytes) -> None:
    """A body that is not a JSON object is a 400."""
    simulator = await simulate()
    assert (await post(simulator.url + CHAT, raw))[0] == 400


async def test_a_schema_that_is_none(simulate: Any, post: Any) -> None:
    """What cannot be followed as a schema is a 400, and its reservation comes back."""
    simulator = await simulate()
    wanted = {"type": "json_schema", "json_schema": {"name": "r", "schema": {"type": "object", "properties": 3}}}
    status, _, answer = await post(simulator.url + CHAT, chat("gpt-5-2", response_format=wanted))
    assert status == 400
    assert "Invalid schema" in _message(answer)
    assert simulator.meter()["limits"]["output/gpt-5-2"]["tokens"] == 0


async def test_a_models_limit_is_the_gateways(simulate: Any, post: Any) -> None:
    """The input limit of a model answers in the gateway's flat body, names the model, and says when to come back."""
    simulator = await simulate(per_model_input=30)
    await post(simulator.url + CHAT, chat())
    status, headers, answer = await post(simulator.url + CHAT, chat())
    assert status == 429
    assert answer == {
        "error_code": "REQUEST_LIMIT_EXCEEDED",
        "message": 'ai gateway per-minute token limit exceeded for model "claude-haiku-4-5"',
    }
    assert headers["retry-after"] == "60"
    assert "x-ratelimit-limit-tokens" not in headers


async def test_the_combined_limit_names_no_model(simulate: Any, post: Any) -> None:
    """The limit of all models is hit by whoever comes last."""
    simulator = await simulate(combined_input=30, generation="october")
    await post(simulator.url + CHAT, chat())
    status, _, answer = await post(simulator.url + CHAT, chat("gpt-5-2"))
    assert status == 429
    assert "30 tokens per minute across all models" in answer["message"]


async def test_the_output_limit_is_upstream(simulate: Any, post: Any) -> None:
    """Output is reserved by its cap; what does not fit is refused in Databricks' words, with its headers."""
    simulator = await simulate(output_per_model=100, retry_after=False)
    status, headers, answer = await post(simulator.url + CHAT, chat(max_tokens=101))
    assert status == 429
    assert "Exceeded workspace output tokens per minute rate limit for databricks-claude" in answer["message"]
    assert "retry-after" not in headers
    assert headers["x-ratelimit-limit-tokens"] == "100"


async def test_unused_output_comes_back_at_once(simulate: Any, post: Any) -> None:
    """Requests in turn, each reserving the whole limit, all fit as long as the answers are short."""
    simulator = await simulate(output_per_model=100, lengths=Lognormal(mean=5, sigma=0.1))
    statuses = [(await post(simulator.url + CHAT, chat(text=f"row {n}", max_tokens=50)))[0] for n in range(8)]
    assert statuses == [200] * 8
    limit = simulator.meter()["limits"]["output/claude-haiku-4-5"]
    assert limit["peak"] <= 100
    assert limit["tokens"] < 60


async def test_reservations_count_while_answers_are_written(simulate: Any, post: Any) -> None:
    """Two requests at a time do not fit where each reserves more than half."""
    simulator = await simulate(output_per_model=100, latency=0.2, time_scale=1)
    both = await asyncio.gather(*(post(simulator.url + CHAT, chat(text=t, max_tokens=60)) for t in ("a", "b")))
    assert sorted(status for status, _, _ in both) == [200, 429]


async def test_output_limits_can_be_set_by_model(simulate: Any, post: Any) -> None:
    """A setting for one model comes before the catalogue's, and that before the setting for all."""
    simulator = await simulate(outputs={"gpt-5-2": 5_000}, output_per_model=700)
    for model in ("gpt-5-2", "gpt-oss-120b", "claude-haiku-4-5"):
        await post(simulator.url + CHAT, chat(model))
    limits = simulator.meter()["limits"]
    assert limits["output/gpt-5-2"]["limit"] == 5_000
    assert limits["output/gpt-oss-120b"]["limit"] == 100_000
    assert limits["output/claude-haiku-4-5"]["limit"] == 700


async def test_input_and_request_limits_can_be_set_by_model(simulate: Any, post: Any) -> None:
    """A limits file says them so; what the gateway does not keep would be tried out in vain."""
    simulator = await simulate(inputs={"gpt-5-2": 5_000}, rates={"gpt-5-2": 7}, requests_per_second=90)
    for model in ("gpt-5-2", "claude-haiku-4-5"):
        await post(simulator.url + CHAT, chat(model))
    limits = {name: limit["limit"] for name, limit in simulator.meter()["limits"].items()}
    assert (limits["input/gpt-5-2"], limits["requests/gpt-5-2"]) == (5_000, 7)
    assert (limits["input/claude-haiku-4-5"], limits["requests/claude-haiku-4-5"]) == (200_000, 90)


async def test_counting_the_total_reserves_and_settles(simulate: Any, post: Any) -> None:
    """Where input limits count everything, an answer's unused cap comes back to them too."""
    simulator = await simulate(count="total", per_model_input=200)
    _, _, answer = await post(simulator.url + CHAT, chat())
    total = simulator.meter()["limits"]["total/claude-haiku-4-5"]
    assert total["tokens"] == answer["usage"]["total_tokens"]
    assert total["peak"] == answer["usage"]["prompt_tokens"] + 64


async def test_requests_per_second(simulate: Any, post: Any) -> None:
    """A limit on requests answers as QPS."""
    simulator = await simulate(requests_per_second=2)
    answers = [await post(simulator.url + CHAT, chat(text=text)) for text in "abc"]
    assert [status for status, _, _ in answers] == [200, 200, 429]
    assert "QPS" in answers[2][2]["message"]
    assert answers[2][1]["retry-after"] == "1"


async def test_other_forms_of_a_429(simulate: Any, post: Any) -> None:
    """Databricks' documented body, its words for input, and Google's shape can be had instead."""
    small = {"output_per_model": 10}
    documented = await simulate(documented_429=True, **small)
    _, _, answer = await post(documented.url + CHAT, chat())
    assert answer["error"]["limit_type"] == "output_tokens_per_minute"
    google = await simulate(gemini_429=True, **small)
    _, _, answer = await post(google.url + GEMINI, gemini())
    assert answer["error"]["details"][0]["retryDelay"] == "60s"
    upstream = await simulate(per_model_input=10, input_refused_by="upstream")
    _, _, answer = await post(upstream.url + CHAT, chat())
    assert "Exceeded workspace input tokens per minute" in answer["message"]


async def test_changes_of_limits_and_outages_have_their_time(simulate: Any, post: Any) -> None:
    """A change holds from its moment on; during an outage everything is a 503."""
    cut = await simulate(per_model_input=100, limit_changes=((0.0, 0.1),))
    assert (await post(cut.url + CHAT, chat()))[0] == 429
    down = await simulate(outages=((0.0, 60.0),))
    status, _, answer = await post(down.url + CHAT, chat())
    assert (status, answer) == (503, {"error": {"message": "authorization temporarily unavailable"}})
    assert (await post((await simulate(outages=((-9.0, 0.0),))).url + CHAT, chat()))[0] == 200


STATUSES = {
    "error_500": 500,
    "bad_gateway_502": 502,
    "unavailable_503": 503,
    "timeout_504": 504,
    "overloaded_529": 529,
    "invalid_json": 200,
    "empty": 200,
    "html": 502,
    "body_error": 200,
    "filtered": 200,
    "refusal": 200,
    "broken_answer": 200,
    "prose": 200,
}


@pytest.mark.parametrize("fault", STATUSES)
async def test_faults_that_answer(simulate: Any, fault: str) -> None:
    """Each fault answers with its status, and unwritten output is given back."""
    simulator = await simulate(faults={fault: 1.0})
    session = aiohttp.ClientSession(headers={"Authorization": "Bearer x"})
    async with session, session.post(simulator.url + CHAT, json=chat()) as got:
        status, body = got.status, await got.read()
    assert status == STATUSES[fault]
    assert (b"content_filter" in body) == (fault == "filtered")
    assert (b"refusal" in body) == (fault == "refusal")
    spent = simulator.meter()["limits"]["output/claude-haiku-4-5"]["tokens"]
    assert (spent > 0) == FAULTS[fault].spends


@pytest.mark.parametrize("fault", ["reset", "truncated_body", "hang"])
async def test_faults_that_break_the_connection(simulate: Any, fault: str) -> None:
    """A reset gives nothing, a truncated body breaks off, and a hanging request never ends."""
    simulator = await simulate(faults={fault: 1.0})
    session = aiohttp.ClientSession(
        headers={"Authorization": "Bearer x"}, timeout=aiohttp.ClientTimeout(total=0.3 if fault == "hang" else 5)
    )
    async with session:
        with pytest.raises((aiohttp.ClientError, TimeoutError)):
            async with session.post(simulator.url + CHAT, json=chat()) as got:
                await got.read()
    assert simulator.meter()["answered"] == 0
    assert set(FAULTS) == set(STATUSES) | {"reset", "truncated_body", "hang"}


async def test_a_retry_can_succeed(simulate: Any, post: Any) -> None:
    """Half of all attempts fail: no request fails for ever."""
    simulator = await simulate(faults={"unavailable_503": 0.5})
    for row in range(10):
        tries = [(await post(simulator.url + CHAT, chat(text=f"row {row}")))[0] for _ in range(12)]
        assert {200, 503} == set(tries)


async def test_settings_that_make_no_sense() -> None:
    """A fault that does not exist, and probabilities above one, are refused when they are set."""
    with pytest.raises(ValueError, match="no fault 'typo'"):
        Simulator(faults={"typo": 0.1})
    with pytest.raises(ValueError, match="at most 1"):
        Simulator(faults={"reset": 0.6, "hang": 0.6})


async def test_it_listens_on_this_machine_only(catalogue: Catalogue) -> None:
    """Any other host is refused."""
    with pytest.raises(ValueError, match="this machine only"):
        await start(Simulator(), catalogue, host="0.0.0.0")


async def test_serving_ends_with_a_signal(catalogue: Catalogue, post: Any) -> None:
    """The command's coroutine says its URL once it answers, and ends cleanly when it is told to."""
    said: asyncio.Queue[str] = asyncio.Queue()
    serving = asyncio.create_task(serve(Simulator(time_scale=0), catalogue, say=said.put_nowait))
    url = await said.get()
    assert (await post(url + CHAT, chat()))[0] == 200
    os.kill(os.getpid(), signal.SIGTERM)
    await asyncio.wait_for(serving, 5)
    with pytest.raises(aiohttp.ClientConnectorError):
        await post(url + CHAT, chat())


async def test_the_meter_says_what_was_taken(simulate: Any, post: Any) -> None:
    """Tokens, peaks, distinct bodies and repeated answers can be read over HTTP, and a reset forgets them."""
    simulator = await simulate()
    _, _, first = await post(simulator.url + CHAT, chat(text="one"))
    _, _, second = await post(simulator.url + CHAT, chat(text="two"))
    await post(simulator.url + CHAT, chat(text="two"))
    async with aiohttp.ClientSession() as session, session.get(simulator.url + "/simulator/meter") as got:
        meter = await got.json()
    usage = first["usage"]["prompt_tokens"] + 2 * second["usage"]["prompt_tokens"]
    limit = meter["limits"]["input/claude-haiku-4-5"]
    assert (limit["tokens"], limit["peak"], limit["admitted"], limit["refused"]) == (usage, usage, 3, 0)
    assert (meter["distinct_bodies"], meter["answered"], meter["answered_more_than_once"]) == (2, 3, 1)
    assert meter["statuses"] == {"200": 3}
    assert 0 < meter["last_done"] < 60
    await post(simulator.url + "/simulator/reset")
    assert simulator.meter()["limits"]["input/combined"]["admitted"] == 0


async def test_the_meter_says_when_it_was_taken(simulate: Any, post: Any) -> None:
    """Asked for a series, it sums each limit's amounts over so many seconds; a length that is none is refused."""
    simulator = await simulate()
    await post(simulator.url + CHAT, chat())
    async with aiohttp.ClientSession() as session:
        async with session.get(simulator.url + "/simulator/meter?every=60") as got:
            limit = (await got.json())["limits"]["input/claude-haiku-4-5"]
        assert (limit["every"], limit["series"]) == (60, [limit["tokens"]])
        for wrong in ("0", "-1", "often", "nan"):
            async with session.get(simulator.url + f"/simulator/meter?every={wrong}") as got:
                assert got.status == 400


async def test_time_is_counted_from_the_first_request(simulate: Any, post: Any, monkeypatch: Any) -> None:
    """However long a client needs to start, borders and outages come so many seconds after its first request."""
    simulator = await simulate(window="fixed", phase=30.0, outages=((0.0, 20.0),))
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(loop, "time", lambda now=loop.time: now() + 100.0)
    status, _, _ = await post(simulator.url + CHAT, chat())
    assert status == 503
    assert simulator.meter()["limits"]["input/combined"]["phase"] == 30.0


async def test_a_reset_leaves_calendar_windows_where_they_are(simulate: Any, post: Any) -> None:
    """A phase counts from the first request of all, so that what a client has learned of it stays true."""
    simulator = await simulate(window="fixed", phase=30.0)
    await post(simulator.url + CHAT, chat())
    simulator.reset()
    await post(simulator.url + CHAT, chat())
    assert 25 < simulator.meter()["limits"]["input/combined"]["phase"] < 30


async def test_one_body_to_two_models_is_two_requests(simulate: Any, post: Any) -> None:
    """Gemini's body names no model; the same question to two models is not one that was answered twice."""
    simulator = await simulate()
    for model in ("gemini-2-5-pro", "gemini-3-1-flash-lite"):
        await post(f"{simulator.url}/v1beta/models/{model}:generateContent", gemini())
    assert simulator.meter()["distinct_bodies"] == 2
    assert simulator.meter()["answered_more_than_once"] == 0
