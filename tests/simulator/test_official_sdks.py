"""The providers' own SDKs, unmodified, against the simulator: what they parse is what the gateway would have sent.

They were written against the real APIs, so they judge the simulator's wire shapes independently of the runner.
"""

from __future__ import annotations

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import anthropic
import openai
import pytest
import pytest_asyncio
from google import genai
from google.genai import errors as genai_errors
from google.genai import types

from runner.simulator import RunningSimulator

SCHEMA = {
    "type": "object",
    "properties": {"sentiment": {"type": "string", "enum": ["positive", "negative"]}, "score": {"type": "integer"}},
    "required": ["sentiment", "score"],
    "additionalProperties": False,
}
CITY = {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}
QUESTION: Any = [{"role": "user", "content": "Name a prime."}]


def is_valid(text: str) -> bool:
    answer = json.loads(text)
    return answer["sentiment"] in ("positive", "negative") and isinstance(answer["score"], int)


def open_ai(simulator: RunningSimulator, prefix: str = "/ai-gateway/openai/v1") -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=simulator.url + prefix, api_key="token", max_retries=0)


def claude(simulator: RunningSimulator) -> anthropic.AsyncAnthropic:
    base_url = simulator.url + "/ai-gateway/anthropic"
    return anthropic.AsyncAnthropic(base_url=base_url, auth_token="token", max_retries=0)


def google(simulator: RunningSimulator, prefix: str = "/ai-gateway/gemini") -> genai.Client:
    return genai.Client(api_key="token", http_options=types.HttpOptions(base_url=simulator.url + prefix))


@pytest_asyncio.fixture
async def simulator(simulate: Any) -> AsyncIterator[RunningSimulator]:
    yield await simulate()


@pytest_asyncio.fixture
async def full(simulate: Any) -> AsyncIterator[RunningSimulator]:
    """A simulator whose limits let nothing in."""
    yield await simulate(per_model_input=1)


@pytest.mark.parametrize("prefix", ["/ai-gateway/mlflow/v1", "/v1"])
async def test_openai_chat(simulator: RunningSimulator, prefix: str) -> None:
    """The OpenAI SDK reads a chat completion with its usage."""
    async with open_ai(simulator, prefix) as client:
        got = await client.chat.completions.create(model="claude-haiku-4-5", messages=QUESTION, max_tokens=64)
    assert "simulator" in (got.choices[0].message.content or "")
    assert got.choices[0].finish_reason == "stop"
    assert got.usage is not None
    assert got.usage.total_tokens == got.usage.prompt_tokens + got.usage.completion_tokens


async def test_openai_chat_stream(simulator: RunningSimulator) -> None:
    """The OpenAI SDK reads a stream to its end, with usage on the last chunk because it was asked for."""
    async with open_ai(simulator) as client:
        stream = await client.chat.completions.create(
            model="gpt-5-2", messages=QUESTION, stream=True, stream_options={"include_usage": True}
        )
        chunks = [chunk async for chunk in stream]
    assert "simulator" in "".join(c.choices[0].delta.content or "" for c in chunks if c.choices)
    assert [c.choices[0].finish_reason for c in chunks if c.choices][-1] == "stop"
    assert chunks[-1].usage is not None


async def test_openai_chat_structured_output_and_tools(simulator: RunningSimulator) -> None:
    """A JSON schema gives an instance of it, and a required tool a call."""
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "r", "schema": SCHEMA, "strict": True}}
    tool: Any = {"type": "function", "function": {"name": "weather", "parameters": CITY}}
    async with open_ai(simulator) as client:
        got = await client.chat.completions.create(model="gpt-5-2", messages=QUESTION, response_format=wanted)
        called = await client.chat.completions.create(
            model="gpt-5-2", messages=QUESTION, tools=[tool], tool_choice="required"
        )
    assert is_valid(got.choices[0].message.content or "")
    assert called.choices[0].finish_reason == "tool_calls"
    call: Any = (called.choices[0].message.tool_calls or [])[0]
    assert "city" in json.loads(call.function.arguments)


async def test_openai_chat_images_cost(simulator: RunningSimulator) -> None:
    """An image in the prompt is counted."""
    url = "data:image/png;base64," + base64.b64encode(b"no picture").decode()
    content = [{"type": "text", "text": "What is this?"}, {"type": "image_url", "image_url": {"url": url}}]
    async with open_ai(simulator) as client:
        messages: Any = [{"role": "user", "content": content}]
        got = await client.chat.completions.create(model="claude-haiku-4-5", messages=messages)
    assert got.usage is not None
    assert got.usage.prompt_tokens > 1_400


async def test_openai_responses(simulator: RunningSimulator) -> None:
    """The OpenAI SDK reads a response: text, reasoning and usage."""
    async with open_ai(simulator) as client:
        got = await client.responses.create(model="gpt-5-3-codex", input="Name a prime.", max_output_tokens=512)
    assert got.status == "completed"
    assert "simulator" in got.output_text
    assert got.usage is not None
    assert got.usage.output_tokens > got.usage.output_tokens_details.reasoning_tokens > 0


async def test_openai_responses_stream(simulator: RunningSimulator) -> None:
    """The events of a response add up to its text, and the last one has the whole response."""
    async with open_ai(simulator) as client:
        stream = await client.responses.create(model="gpt-5-mini", input="Name a prime.", stream=True)
        events = [event async for event in stream]
    text = "".join(event.delta for event in events if event.type == "response.output_text.delta")
    assert events[0].type == "response.created"
    assert events[-1].type == "response.completed"
    assert events[-1].response.output_text == text != ""


async def test_openai_responses_structured_output_and_tools(simulator: RunningSimulator) -> None:
    """The Responses API's forms of a schema and of a required tool work as those of chat do."""
    wanted: Any = {"format": {"type": "json_schema", "name": "r", "schema": SCHEMA, "strict": True}}
    tool: Any = {"type": "function", "name": "weather", "parameters": CITY, "strict": True}
    async with open_ai(simulator) as client:
        got = await client.responses.create(model="gpt-5-2", input="Good or bad?", text=wanted)
        called = await client.responses.create(model="gpt-5-2", input="Hi", tools=[tool], tool_choice="required")
    assert is_valid(got.output_text)
    assert called.output[0].type == "function_call"
    assert "city" in json.loads(called.output[0].arguments)


async def test_openai_errors(simulator: RunningSimulator, full: RunningSimulator, simulate: Any) -> None:
    """Each refusal is the SDK's own type of error, and the list of models is its own type of list."""
    async with open_ai(full) as client:
        with pytest.raises(openai.RateLimitError) as limited:
            await client.chat.completions.create(model="gpt-5-2", messages=QUESTION)
    assert limited.value.response.headers["retry-after"] == "60"
    async with open_ai(simulator) as client:
        with pytest.raises(openai.BadRequestError, match="unknown model"):
            await client.chat.completions.create(model="gpt-9", messages=QUESTION)
        with pytest.raises(openai.BadRequestError, match="integer below minimum"):
            await client.responses.create(model="gpt-5-2", input="Hi", max_output_tokens=2)
    async with open_ai(await simulate(token="other")) as client:
        with pytest.raises(openai.AuthenticationError):
            await client.chat.completions.create(model="gpt-5-2", messages=QUESTION)
    async with open_ai(await simulate(faults={"unavailable_503": 1})) as client:
        with pytest.raises(openai.InternalServerError):
            await client.responses.create(model="gpt-5-2", input="Hi")
    async with open_ai(simulator, "/v1") as client:
        assert "gpt-5-mini" in [model.id async for model in client.models.list()]


async def test_anthropic_messages(simulator: RunningSimulator) -> None:
    """The Anthropic SDK reads a message with its usage, and one that was cut."""
    async with claude(simulator) as client:
        got = await client.messages.create(
            model="claude-haiku-4-5", max_tokens=64, system="Be brief.", messages=QUESTION
        )
        short = await client.messages.create(model="claude-haiku-4-5", max_tokens=3, messages=QUESTION)
    assert got.content[0].type == "text"
    assert "simulator" in got.content[0].text
    assert got.stop_reason == "end_turn"
    assert got.usage.input_tokens > 0
    assert (short.stop_reason, short.usage.output_tokens) == ("max_tokens", 3)


async def test_anthropic_thinking_and_tools(simulator: RunningSimulator) -> None:
    """Thinking is a block before the text, and a tool that must be called is one."""
    tool: Any = {"name": "weather", "input_schema": CITY}
    async with claude(simulator) as client:
        thought = await client.messages.create(
            model="claude-haiku-4-5",
            max_tokens=2_000,
            thinking={"type": "enabled", "budget_tokens": 1_024},
            messages=QUESTION,
        )
        called = await client.messages.create(
            model="claude-haiku-4-5", max_tokens=90, messages=QUESTION, tools=[tool], tool_choice={"type": "any"}
        )
    assert [block.type for block in thought.content] == ["thinking", "text"]
    assert called.stop_reason == "tool_use"
    assert called.content[0].type == "tool_use"
    assert "city" in called.content[0].input


async def test_anthropic_structured_output(simulator: RunningSimulator) -> None:
    """A schema in `output_config` gives an instance of it."""
    config = {"format": {"type": "json_schema", "schema": SCHEMA}}
    async with claude(simulator) as client:
        got = await client.messages.create(
            model="claude-haiku-4-5", max_tokens=64, messages=QUESTION, extra_body={"output_config": config}
        )
    assert got.content[0].type == "text"
    assert is_valid(got.content[0].text)


async def test_anthropic_stream(simulator: RunningSimulator) -> None:
    """The SDK's own accumulator makes the whole message of the events."""
    asked: Any = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": QUESTION}
    async with claude(simulator) as client, client.messages.stream(**asked) as stream:
        text = "".join([piece async for piece in stream.text_stream])
        final = await stream.get_final_message()
    assert "simulator" in text
    assert (final.stop_reason, final.usage.output_tokens > 1) == ("end_turn", True)


async def test_anthropic_errors(simulator: RunningSimulator, full: RunningSimulator, simulate: Any) -> None:
    """Each refusal is the SDK's own type of error, in whatever shape its body is."""
    asked: Any = {"model": "claude-haiku-4-5", "max_tokens": 64, "messages": QUESTION}
    async with claude(full) as client:
        with pytest.raises(anthropic.RateLimitError):
            await client.messages.create(**asked)
    async with claude(simulator) as client:
        with pytest.raises(anthropic.BadRequestError, match="unknown model"):
            await client.messages.create(**{**asked, "model": "claude-9"})
        with pytest.raises(anthropic.BadRequestError, match="cannot both be specified"):
            await client.messages.create(**asked, extra_body={"temperature": 0.5, "top_p": 0.5})
    async with claude(await simulate(token="other")) as client:
        with pytest.raises(anthropic.AuthenticationError):
            await client.messages.create(**asked)
    async with claude(await simulate(faults={"overloaded_529": 1})) as client:
        with pytest.raises(anthropic.APIStatusError) as overloaded:
            await client.messages.create(**asked)
    assert overloaded.value.status_code == 529


@pytest.mark.parametrize("prefix", ["/ai-gateway/gemini", "/v1/gemini", "/gemini", ""])
async def test_gemini(simulator: RunningSimulator, prefix: str) -> None:
    """The Google SDK reads an answer: text, thoughts counted apart, and the reason for its end."""
    async with google(simulator, prefix).aio as client:
        got = await client.models.generate_content(model="gemini-2-5-pro", contents="Name a prime.")
    assert "simulator" in (got.text or "")
    usage = got.usage_metadata
    assert usage is not None
    parts = (usage.prompt_token_count, usage.candidates_token_count, usage.thoughts_token_count)
    assert sum(part or 0 for part in parts) == usage.total_token_count
    assert (got.candidates or [])[0].finish_reason == types.FinishReason.STOP


async def test_gemini_structured_output_tools_and_thinking(simulator: RunningSimulator) -> None:
    """Google's forms of a schema, of a function that must be called, and of no thinking at all."""
    declared = types.Tool(
        function_declarations=[types.FunctionDeclaration(name="weather", parameters_json_schema=CITY)]
    )
    must = types.ToolConfig(function_calling_config=types.FunctionCallingConfig(mode="ANY"))  # type: ignore[arg-type]
    structured = types.GenerateContentConfig(
        response_mime_type="application/json",
        response_json_schema=SCHEMA,
        thinking_config=types.ThinkingConfig(thinking_budget=0),
    )
    async with google(simulator).aio as client:
        got = await client.models.generate_content(model="gemini-2-5-pro", contents="Good or bad?", config=structured)
        called = await client.models.generate_content(
            model="gemini-2-5-pro",
            contents="Hi",
            config=types.GenerateContentConfig(tools=[declared], tool_config=must),
        )
    assert is_valid(got.text or "")
    assert got.usage_metadata is not None
    assert not got.usage_metadata.thoughts_token_count
    assert called.function_calls is not None
    assert called.function_calls[0].name == "weather"


async def test_gemini_stream(simulator: RunningSimulator) -> None:
    """A stream of one event is a stream."""
    async with google(simulator).aio as client:
        stream = await client.models.generate_content_stream(model="gemini-2-5-pro", contents="Name a prime.")
        text = "".join([chunk.text or "" async for chunk in stream])
    assert "simulator" in text


async def test_gemini_errors(simulator: RunningSimulator, full: RunningSimulator, simulate: Any) -> None:
    """Refusals are client errors with their status, whatever the shape of the body; a filtered prompt is no error."""
    cases = [
        (full, "gemini-2-5-pro", 429),
        (simulator, "gemini-9", 400),
        (await simulate(token="no"), "gemini-2-5-pro", 401),
    ]
    for running, model, status in cases:
        async with google(running).aio as client:
            with pytest.raises(genai_errors.ClientError) as refused:
                await client.models.generate_content(model=model, contents="Hi")
        assert refused.value.code == status
    async with google(await simulate(faults={"filtered": 1})).aio as client:
        got = await client.models.generate_content(model="gemini-2-5-pro", contents="Hi")
    assert not got.candidates
    assert got.prompt_feedback is not None
