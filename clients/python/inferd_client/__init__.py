"""Client for the inference daemon inferd.

    from inferd_client import Client

    with Client("localhost:50051") as client:
        print(client.chat("What is the KV cache?").choices[0].message.content)
        for chunk in client.stream_chat("Tell me more.", max_completion_tokens=64):
            print(chunk.text, end="")

Messages are those of the API, `inferd.v1`; `inferd_client.openai` has the same in the shape
of OpenAI's library.
"""

from .client import Chunk, Client, Stream, Tls
from .errors import ApiError

__all__ = ["ApiError", "Chunk", "Client", "Stream", "Tls"]
