"""The answer to `GET /v1/models`: the catalogue in the shape that the gateway borrowed from OpenRouter."""

from __future__ import annotations

from collections.abc import Collection

import orjson

from runner.core.catalog import Catalogue, Model
from runner.simulator.asked import Json
from runner.simulator.errors import Answer

TOKENIZERS = {"Anthropic": "Claude", "OpenAI": "GPT", "Google": "Gemini", "Meta": "Llama", "Alibaba": "Qwen"}


def listing(catalogue: Catalogue, disabled: Collection[str]) -> Answer:
    """All models; one that the account may not use is listed, and not enabled."""
    data = [_entry(model, enabled=model.short not in disabled) for model in catalogue.models.values()]
    return Answer(status=200, body=orjson.dumps({"object": "list", "data": data}))


def _entry(model: Model, *, enabled: bool) -> dict[str, Json]:
    return {
        "id": model.short,
        "canonical_slug": model.short,
        "name": model.short,
        "object": "model",
        "owned_by": model.provider.lower(),
        "created": 0,
        "enabled": enabled,
        "context_length": None,
        "architecture": {
            "modality": "+".join(model.inputs) + "->text",
            "input_modalities": list(model.inputs),
            "output_modalities": ["text"],
            "tokenizer": TOKENIZERS.get(model.provider, "Other"),
            "instruct_type": None,
        },
        "top_provider": {"context_length": None, "max_completion_tokens": None, "is_moderated": None},
        "pricing": None,
        "per_request_limits": None,
    }
