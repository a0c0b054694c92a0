"""What a request will cost, before it is sent; corrected by what the requests before it did cost.

A request is measured once (`measure`): tokens of its text in one encoding, and the pixels of its images. Each model's
family turns that into tokens of its own by a multiplier and a formula for images; each model's replies then correct
the multiplier. Until a model has answered, `MARGIN` is added on top; the addition shrinks with every reply. What an
earlier run has learned is recalled as if some replies had come already.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from runner.core.catalog import Model
from runner.core.knowledge import Ratio
from runner.core.ports import TokenCounter
from runner.core.values import Image, Json, Request, Text, Usage

PER_MESSAGE = 3
PER_REPLY = 3
"""Tokens of chat overhead for each message, and for the reply's opening (OpenAI Cookbook, "How to count tokens")."""

MARGIN = 0.10
"""Added to estimates for a model that has not answered yet, as a fraction."""
MARGIN_HALVES_AFTER = 5
"""Replies after which that addition is half of what it was."""
MEMORY = 500
"""Replies over which the correction of a model's multiplier is averaged."""
MOST_RECALLED = 50
"""Replies as which the correction counts that an earlier run has learned, however many there were."""

UNKNOWN_PIXELS = (1024, 1024)
"""Taken for an image whose size cannot be seen: an https URL is never fetched."""


@dataclass(frozen=True, slots=True)
class Size:
    """What a request measures, before any model's way of counting."""

    text: int
    """Tokens of the text and of the chat around it, in the common encoding."""
    images: tuple[tuple[int, int], ...] = ()
    """Width and height of each image, in pixels."""


def _scaled(width: int, height: int, longest: int) -> tuple[float, float]:
    factor = min(1.0, longest / max(width, height, 1))
    return width * factor, height * factor


def _patches_28(width: int, height: int, longest: int, most: int) -> int:
    w, h = _scaled(width, height, longest)
    return min(most, math.ceil(w / 28) * math.ceil(h / 28)) + 70


def _patches_32(width: int, height: int) -> int:
    return math.ceil(1.2 * min(1536, math.ceil(width / 32) * math.ceil(height / 32)))


def _tiles_768(width: int, height: int) -> int:
    if width <= 384 and height <= 384:
        return 258
    return 258 * math.ceil(width / 768) * math.ceil(height / 768)


IMAGE_TOKENS: Mapping[str, Callable[[int, int], int]] = {
    # Measured for Claude: ceil(w/28)*ceil(h/28) and some 70 tokens around it, after the long edge is scaled down.
    "patches-28": lambda w, h: _patches_28(w, h, 1568, 1600),
    "patches-28-large": lambda w, h: _patches_28(w, h, 2576, 4784),
    # Measured for GPT: 1.2 tokens for each patch of 32 pixels.
    "patches-32": _patches_32,
    # Google's documentation for Gemini 2: 258 for a small image, else 258 for each tile of 768 pixels.
    "tiles-768": _tiles_768,
    # Measured for Gemini 3: 1,065 to 1,101 whatever the size.
    "flat-1100": lambda _w, _h: 1100,
    "none": lambda _w, _h: 0,
}
"""Tokens of an image of so many pixels, by the name that a family's `images` gives."""


def measure(request: Request, count: TokenCounter, pixels: Callable[[str], tuple[int, int]]) -> Size:
    """Measure a request: `count` counts text, `pixels` gives the size of the image behind a URL."""
    attached = _measure_attached(request, count)
    if request.body is not None:
        size = _measure_body(request.body, count, pixels)
        return Size(size.text + attached, size.images)
    tokens = PER_REPLY + attached
    images: list[tuple[int, int]] = []
    for message in request.messages:
        tokens += PER_MESSAGE
        if isinstance(message.content, str):
            tokens += count(message.content)
        else:
            for part in message.content:
                if isinstance(part, Text):
                    tokens += count(part.text)
                elif isinstance(part, Image):
                    images.append(pixels(part.url))
        if message.tool_calls:
            tokens += count(json.dumps(message.tool_calls))
    return Size(tokens, tuple(images))


def _measure_attached(request: Request, count: TokenCounter) -> int:
    """Tokens of the settings that a model reads, but for those that a batch line says itself."""
    own, settings = request.body or {}, request.settings
    said = (() if "tools" in own else settings.tools, None if "response_format" in own else settings.schema)
    return sum(count(json.dumps(attached)) for attached in said if attached)


NOT_READ = frozenset({"model", "metadata", "user", "stream", "store", "stop", "temperature", "top_p"})
"""Keys of a batch line's body that no model reads as text."""
MEDIA_TYPES = ("media_type", "mimeType", "mime_type", "format")
"""Keys beside a `data` that is base64, in Anthropic's, Gemini's and OpenAI's blocks."""


def _measure_body(body: Mapping[str, Json], count: TokenCounter, pixels: Callable[[str], tuple[int, int]]) -> Size:
    tokens = PER_REPLY
    images: list[tuple[int, int]] = []
    stack: list[tuple[str, Json]] = [(key, value) for key, value in body.items() if key not in NOT_READ]
    while stack:
        key, value = stack.pop()
        if isinstance(value, str):
            if _is_data_url(value) or (key in ("url", "image_url", "fileUri") and value.startswith("https:")):
                images.append(pixels(value))
            elif key not in ("type", "role"):
                tokens += count(value)
        elif isinstance(value, Mapping):
            tokens += PER_MESSAGE if "role" in value else 0
            media = next((value[name] for name in MEDIA_TYPES if name in value), None)
            if media is not None and isinstance(value.get("data"), str):
                images.append(pixels(f"data:{media};base64,{value['data']}"))
            else:
                stack.extend(value.items())
        elif isinstance(value, list):
            stack.extend((key, item) for item in value)
    return Size(tokens, tuple(images))


def _is_data_url(text: str) -> bool:
    return text.startswith("data:") and ";base64," in text[:100]


class _Correction:
    """How far one model's truth lies from the estimates: a ratio over the last replies, and what was recalled of it.

    What was recalled counts as so many replies of the size that replies now have, and wears off as they do.
    """

    __slots__ = ("_guessed", "_learned", "_true", "_weight", "margin", "ratio", "recalled", "replies")

    def __init__(self, recalled: Ratio | None = None) -> None:
        self.recalled = recalled
        self.replies = 0 if recalled is None else min(recalled.replies, MOST_RECALLED)
        self._guessed = 0.0
        self._true = 0.0
        self._weight = 0.0
        """Replies that the two sums stand for."""
        self._learned = 0
        self._settle()

    def learn(self, guess: int, truth: int) -> None:
        keep = 1 - 1 / MEMORY
        self._guessed = self._guessed * keep + guess
        self._true = self._true * keep + truth
        self._weight = self._weight * keep + 1
        self._learned += 1
        self.replies += 1
        self._settle()

    def _settle(self) -> None:
        self.margin = MARGIN / (1 + self.replies / MARGIN_HALVES_AFTER)
        own = self._true / self._guessed if self._guessed else 1.0
        if self.recalled is None:
            self.ratio = own
            return
        before = self.recalled.true / self.recalled.guessed
        counts = (self.replies - self._learned) * (1 - 1 / MEMORY) ** self._learned
        self.ratio = (own * self._weight + before * counts) / (self._weight + counts)

    @property
    def remembered(self) -> Ratio | None:
        """What the next run should begin with; what was recalled itself if nothing has come to it."""
        if not self._learned or not self._guessed:
            return self.recalled
        return Ratio(self._guessed, self._guessed * self.ratio, self.replies)


class Estimator:
    """Charges of requests to models, learned from replies."""

    def __init__(self, models: Iterable[Model]) -> None:
        self._models = {model.short: model for model in models}
        self._multipliers = {name: model.family.multiplier for name, model in self._models.items()}
        self._corrections = {name: _Correction() for name in self._models}

    def guess(self, size: Size, model: str) -> int:
        """Input tokens by the family's multiplier alone, uncorrected."""
        tokens = size.text * self._multipliers[model]
        if size.images:
            formula = IMAGE_TOKENS[self._models[model].family.images]
            tokens += sum(formula(width, height) for width, height in size.images)
        return math.ceil(tokens)

    def input_tokens(self, size: Size, model: str) -> int:
        """Input tokens as they are expected now, margin included."""
        correction = self._corrections[model]
        return math.ceil(self.guess(size, model) * correction.ratio * (1 + correction.margin))

    def expected(self, size: Size, model: str) -> int:
        """Input tokens as they are expected now, without a margin."""
        return math.ceil(self.guess(size, model) * self._corrections[model].ratio)

    def learn(self, size: Size, model: str, usage: Usage) -> None:
        """Correct a model's multiplier by a reply's usage."""
        if usage.reported and usage.input > 0:
            self._corrections[model].learn(self.guess(size, model), usage.input)

    def recall(self, ratios: Mapping[str, Ratio]) -> None:
        """Begin with what an earlier run has learned of the models; before anything is estimated."""
        self._corrections.update((name, _Correction(ratios[name])) for name in self._corrections if name in ratios)

    def remember(self) -> dict[str, Ratio]:
        """What the next run may begin with."""
        known = {name: correction.remembered for name, correction in self._corrections.items()}
        return {name: ratio for name, ratio in known.items() if ratio is not None}

    def as_now(self) -> Estimator:
        """Another one that knows the same, and learns for itself."""
        other = Estimator(self._models.values())
        other.recall(self.remember())
        return other

    def ratios(self) -> dict[str, float]:
        """What each model that has answered counts for one token of ours."""
        return {
            name: self._multipliers[name] * correction.ratio
            for name, correction in self._corrections.items()
            if correction.replies
        }
