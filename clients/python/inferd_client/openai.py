"""The shape of OpenAI's Python library, over gRPC.

    from inferd_client.openai import OpenAI

    client = OpenAI(target="localhost:50051", api_key="sk-inferd-...")
    answer = client.chat.completions.create(
        model="demo", messages=[{"role": "user", "content": "Hello"}], max_tokens=32)
    print(answer.choices[0].message.content)

Only chat completions and models. The HTTP API of the daemon serves OpenAI's own library;
this is for those who want its calls and gRPC's streams, deadlines and retries.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from inferd.v1 import chat_pb2, common_pb2

from .client import Client, Stream, Tls

FINISH_REASONS = {chat_pb2.FINISH_REASON_STOP: "stop", chat_pb2.FINISH_REASON_LENGTH: "length",
                  chat_pb2.FINISH_REASON_TOOL_CALLS: "tool_calls",
                  chat_pb2.FINISH_REASON_CONTENT_FILTER: "content_filter",
                  chat_pb2.FINISH_REASON_TIME_LIMIT: "length"}


@dataclass
class Usage:
    prompt_tokens: int
    completion_tokens: int
    total_tokens: int


@dataclass
class Message:
    role: str
    content: str | None


@dataclass
class Choice:
    index: int
    message: Message
    finish_reason: str | None


@dataclass
class ChatCompletion:
    id: str
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
    object: str = "chat.completion"


@dataclass
class Delta:
    role: str | None
    content: str | None


@dataclass
class ChunkChoice:
    index: int
    delta: Delta
    finish_reason: str | None


@dataclass
class ChatCompletionChunk:
    id: str
    created: int
    model: str
    choices: list[ChunkChoice] = field(default_factory=list)
    usage: Usage | None = None
    object: str = "chat.completion.chunk"


def _usage(usage: common_pb2.Usage) -> Usage:
    return Usage(usage.prompt_tokens, usage.completion_tokens, usage.total_tokens)


def _message(item: dict[str, Any]) -> tuple[str, str]:
    content = item.get("content")
    if isinstance(content, list):
        parts = []
        for part in content:
            if part.get("type") != "text":
                raise ValueError(f"content of type {part.get('type')!r} is not supported")
            parts.append(part["text"])
        content = "\n".join(parts)
    return item["role"], content or ""


class Completions:
    def __init__(self, client: Client) -> None:
        self._client = client

    def create(self, *, messages: list[dict[str, Any]], model: str = "", stream: bool = False,
               timeout: float | None = None, stop: str | list[str] | None = None,
               stream_options: dict[str, bool] | None = None, extra_body: dict[str, Any] | None = None,
               **fields: Any) -> Any:
        """A ChatCompletion, or with stream=True an iterator of ChatCompletionChunk.
        `extra_body`: fields that OpenAI does not have (top_k, min_p...)."""
        fields = {name: value for name, value in {**fields, **(extra_body or {})}.items() if value is not None}
        if stop is not None:
            fields["stop"] = [stop] if isinstance(stop, str) else stop
        if stream:
            # OpenAI sends no usage unless asked; over gRPC it comes by itself.
            include = bool((stream_options or {}).get("include_usage", False))
            fields["stream_options"] = chat_pb2.StreamOptions(include_usage=include)
        pairs = [_message(item) for item in messages]
        if stream:
            return self._chunks(self._client.stream_chat(pairs, timeout=timeout, model=model, **fields))
        answer = self._client.chat(pairs, timeout=timeout, model=model, **fields)
        choices = [Choice(c.index, Message("assistant", c.message.content if c.message.HasField("content") else None),
                          FINISH_REASONS.get(c.finish_reason)) for c in answer.choices]
        return ChatCompletion(answer.id, answer.created, answer.model, choices, _usage(answer.usage))

    @staticmethod
    def _chunks(stream: Stream) -> Iterator[ChatCompletionChunk]:
        with stream:
            for chunk in stream:
                message = chunk.message
                choices = [ChunkChoice(c.index, Delta("assistant" if c.delta.HasField("role") else None,
                                                      c.delta.content if c.delta.HasField("content") else None),
                                       FINISH_REASONS.get(c.finish_reason)) for c in message.choices]
                yield ChatCompletionChunk(message.id, message.created, message.model, choices,
                                          _usage(message.usage) if message.HasField("usage") else None)


class Chat:
    def __init__(self, client: Client) -> None:
        self.completions = Completions(client)


@dataclass
class Model:
    id: str
    object: str = "model"


class Models:
    def __init__(self, client: Client) -> None:
        self._client = client

    def list(self) -> list[Model]:
        return [Model(name) for name in self._client.models()]


class OpenAI:
    def __init__(self, target: str = "localhost:50051", *, api_key: str | None = None, tls: Tls | None = None,
                 timeout: float = 600.0, max_retries: int = 2) -> None:
        self._client = Client(target, api_key=api_key, tls=tls, timeout=timeout, attempts=max_retries + 1)
        self.chat = Chat(self._client)
        self.models = Models(self._client)

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> OpenAI:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
