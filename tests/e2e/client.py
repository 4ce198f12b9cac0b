"""Short ways to ask, over the generated stubs. Import after the protos exist."""

from google.rpc import error_details_pb2, status_pb2
from inferd.v1 import chat_pb2, chat_pb2_grpc, services_pb2, services_pb2_grpc

ROLES = {"system": chat_pb2.ROLE_SYSTEM, "user": chat_pb2.ROLE_USER,
         "assistant": chat_pb2.ROLE_ASSISTANT, "tool": chat_pb2.ROLE_TOOL}


def request(messages, **fields):
    """`messages`: a user text, or (role, text) pairs."""
    if isinstance(messages, str):
        messages = [("user", messages)]
    result = chat_pb2.ChatCompletionRequest(**fields)
    for role, text in messages:
        message = result.messages.add(role=ROLES[role])
        message.content.add(text=text)
    return result


class Client:
    def __init__(self, channel):
        self.chat = chat_pb2_grpc.ChatServiceStub(channel)
        self.models = services_pb2_grpc.ModelServiceStub(channel)
        self.server = services_pb2_grpc.ServerServiceStub(channel)
        self.tokenizer = services_pb2_grpc.TokenizerServiceStub(channel)
        self.completion = services_pb2_grpc.CompletionServiceStub(channel)

    def ask(self, messages, timeout=120, **fields):
        return self.chat.CreateChatCompletion(request(messages, **fields), timeout=timeout)

    def text(self, messages, **fields):
        return self.ask(messages, **fields).choices[0].message.content

    def stream(self, messages, timeout=120, **fields):
        return self.chat.StreamChatCompletion(request(messages, **fields), timeout=timeout)

    def load(self):
        return self.server.GetLoad(services_pb2.GetLoadRequest(), timeout=10).engines[0]


def streamed_text(chunks):
    """The whole text and the finish reason of choice 0."""
    text, finish = "", None
    for chunk in chunks:
        for choice in chunk.choices:
            text += choice.delta.content
            if choice.finish_reason:
                finish = choice.finish_reason
    return text, finish


def error_details(error):
    """The google.rpc details of a grpc.RpcError: (ErrorInfo or None, BadRequest or None, RetryInfo or None)."""
    info = bad = retry = None
    for key, value in error.trailing_metadata() or ():
        if key != "grpc-status-details-bin":
            continue
        status = status_pb2.Status.FromString(value)
        assert status.code == error.code().value[0]
        for detail in status.details:
            for kind in (error_details_pb2.ErrorInfo, error_details_pb2.BadRequest,
                         error_details_pb2.RetryInfo):
                if detail.Is(kind.DESCRIPTOR):
                    message = kind()
                    detail.Unpack(message)
                    if kind is error_details_pb2.ErrorInfo:
                        info = message
                    elif kind is error_details_pb2.BadRequest:
                        bad = message
                    else:
                        retry = message
    return info, bad, retry


def list_models(channel, key):
    """The models that a key may use."""
    stub = services_pb2_grpc.ModelServiceStub(channel)
    return stub.ListModels(services_pb2.ListModelsRequest(), timeout=20,
                           metadata=[("authorization", f"Bearer {key}")]).models
