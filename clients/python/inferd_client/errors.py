"""What went wrong, as the daemon said it."""

from __future__ import annotations

import grpc
from google.rpc import error_details_pb2, status_pb2


class ApiError(Exception):
    """A call that failed.

    code: gRPC's status. reason: the daemon's own word for it ("QUEUE_FULL"); empty when
    the error is not the daemon's, for example when nobody answers. field: the offending
    field of the request. retry_after: seconds after which to try again; None: do not.
    """

    def __init__(self, code: grpc.StatusCode, message: str, reason: str = "", field: str = "",
                 retry_after: float | None = None) -> None:
        super().__init__(f"{code.name}{'/' + reason if reason else ''}: {message}")
        self.code = code
        self.message = message
        self.reason = reason
        self.field = field
        self.retry_after = retry_after

    @classmethod
    def of(cls, error: grpc.RpcError) -> ApiError:
        result = cls(error.code(), error.details() or "")
        for key, value in error.trailing_metadata() or ():
            if key == "grpc-status-details-bin":
                result._read(status_pb2.Status.FromString(value))
        return cls(result.code, result.message, result.reason, result.field, result.retry_after)

    def _read(self, status: status_pb2.Status) -> None:
        for detail in status.details:
            if detail.Is(error_details_pb2.ErrorInfo.DESCRIPTOR):
                info = error_details_pb2.ErrorInfo()
                detail.Unpack(info)
                self.reason = info.reason
            elif detail.Is(error_details_pb2.BadRequest.DESCRIPTOR):
                bad = error_details_pb2.BadRequest()
                detail.Unpack(bad)
                if bad.field_violations:
                    self.field = bad.field_violations[0].field
            elif detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR):
                retry = error_details_pb2.RetryInfo()
                detail.Unpack(retry)
                self.retry_after = retry.retry_delay.ToNanoseconds() / 1e9
