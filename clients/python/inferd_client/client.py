"""The client: one channel, calls with deadlines, retries where they are safe."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Any, TypeVar

import grpc
from inferd.v1 import chat_pb2, chat_pb2_grpc, services_pb2, services_pb2_grpc

from .errors import ApiError

Answer = TypeVar("Answer")
# A text of the user, or (role, text) pairs, or messages of the API.
Messages = str | Iterable[tuple[str, str] | chat_pb2.ChatMessage]

ROLES = {"system": chat_pb2.ROLE_SYSTEM, "developer": chat_pb2.ROLE_DEVELOPER, "user": chat_pb2.ROLE_USER,
         "assistant": chat_pb2.ROLE_ASSISTANT, "tool": chat_pb2.ROLE_TOOL}


@dataclass(frozen=True)
class Tls:
    """PEM files. ca: who signed the server's certificate; None: the system's authorities.
    certificate and key: our own, where the server wants one."""

    ca: str | None = None
    certificate: str | None = None
    key: str | None = None

    def credentials(self) -> grpc.ChannelCredentials:
        def read(path: str | None) -> bytes | None:
            if path is None:
                return None
            with open(path, "rb") as file:
                return file.read()

        return grpc.ssl_channel_credentials(read(self.ca), read(self.key), read(self.certificate))


@dataclass(frozen=True)
class Chunk:
    """One message of a stream; `text` is that of choice 0."""

    text: str
    message: chat_pb2.ChatCompletionChunk


class Stream:
    """Chunks of an answer, as they come. Leaving it early (close(), or a `with` block)
    cancels the call: the daemon then stops computing."""

    def __init__(self, call: Any) -> None:
        self._call = call

    def __iter__(self) -> Iterator[Chunk]:
        try:
            for message in self._call:
                text = "".join(c.delta.content for c in message.choices if c.index == 0)
                yield Chunk(text, message)
        except grpc.RpcError as error:
            raise ApiError.of(error) from None
        finally:
            self._call.cancel()

    def close(self) -> None:
        self._call.cancel()

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()


def service_config(attempts: int) -> str:
    """Retries, for gRPC: only of calls whose first message has not come yet, so that no
    token is ever seen twice. The daemon says when to come again."""
    return json.dumps({"methodConfig": [{"name": [{}], "retryPolicy": {
        "maxAttempts": attempts, "initialBackoff": "0.2s", "maxBackoff": "5s", "backoffMultiplier": 2,
        "retryableStatusCodes": ["UNAVAILABLE", "RESOURCE_EXHAUSTED"]}}]})


def build_request(messages: Messages, fields: Mapping[str, Any]) -> chat_pb2.ChatCompletionRequest:
    request = chat_pb2.ChatCompletionRequest(**fields)
    pairs = [("user", messages)] if isinstance(messages, str) else messages
    for item in pairs:
        if isinstance(item, chat_pb2.ChatMessage):
            request.messages.append(item)
        else:
            role, text = item
            if role not in ROLES:
                raise ValueError(f"role {role!r}: expected one of {', '.join(ROLES)}")
            request.messages.add(role=ROLES[role]).content.add(text=text)
    return request


class Client:
    """Thread-safe. `timeout` is each call's deadline in seconds unless the call has its
    own; `attempts` 1 switches retries off."""

    def __init__(self, target: str = "localhost:50051", *, api_key: str | None = None, tls: Tls | None = None,
                 timeout: float = 600.0, attempts: int = 3,
                 options: Iterable[tuple[str, Any]] = ()) -> None:
        settings = [("grpc.keepalive_time_ms", 60_000), *options]
        if attempts > 1:
            settings += [("grpc.enable_retries", 1), ("grpc.service_config", service_config(attempts))]
        else:
            settings += [("grpc.enable_retries", 0)]
        self._channel = (grpc.secure_channel(target, tls.credentials(), options=settings) if tls is not None
                         else grpc.insecure_channel(target, options=settings))
        self._metadata = (("authorization", f"Bearer {api_key}"),) if api_key else ()
        self._timeout = timeout
        self._chat = chat_pb2_grpc.ChatServiceStub(self._channel)
        self._models = services_pb2_grpc.ModelServiceStub(self._channel)
        self._server = services_pb2_grpc.ServerServiceStub(self._channel)
        self._tokenizer = services_pb2_grpc.TokenizerServiceStub(self._channel)

    def __enter__(self) -> Client:
        return self

    def __exit__(self, kind: type[BaseException] | None, value: BaseException | None,
                 trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self._channel.close()

    def _call(self, method: Callable[..., Answer], request: Any, timeout: float | None) -> Answer:
        try:
            return method(request, timeout=timeout or self._timeout, metadata=self._metadata)
        except grpc.RpcError as error:
            raise ApiError.of(error) from None

    def chat(self, messages: Messages, *, timeout: float | None = None, **fields: Any) -> chat_pb2.ChatCompletion:
        """The whole answer. `fields`: those of ChatCompletionRequest."""
        return self._call(self._chat.CreateChatCompletion, build_request(messages, fields), timeout)

    def stream_chat(self, messages: Messages, *, timeout: float | None = None, **fields: Any) -> Stream:
        """The same, piece by piece."""
        return Stream(self._call(self._chat.StreamChatCompletion, build_request(messages, fields), timeout))

    def models(self, timeout: float | None = 10) -> list[str]:
        listed = self._call(self._models.ListModels, services_pb2.ListModelsRequest(), timeout)
        return [model.id for model in listed.models]

    def server_info(self, timeout: float | None = 10) -> services_pb2.GetServerInfoResponse:
        return self._call(self._server.GetServerInfo, services_pb2.GetServerInfoRequest(), timeout)

    def tokenize(self, text: str, *, timeout: float | None = 60, **fields: Any) -> list[int]:
        answer = self._call(self._tokenizer.Tokenize, services_pb2.TokenizeRequest(text=text, **fields), timeout)
        return list(answer.token_ids)
