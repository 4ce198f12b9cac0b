"""What clients/shell/grpcurl.sh uses of grpcurl, for where there is none: Debian has no package.

As grpcurl does, it knows the API from the server's reflection alone, and requests and answers are
protobuf's JSON. Flags: -plaintext or -cacert FILE, -expand-headers, -H 'name: value', -d JSON.
"""

import argparse
import os
import re
import sys

import grpc
from google.protobuf import descriptor_pool, json_format, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import ProtoReflectionDescriptorDatabase


def main():
    parser = argparse.ArgumentParser(allow_abbrev=False)
    security = parser.add_mutually_exclusive_group(required=True)
    security.add_argument("-plaintext", action="store_true")
    security.add_argument("-cacert")
    parser.add_argument("-expand-headers", action="store_true")
    parser.add_argument("-H", action="append", default=[])
    parser.add_argument("-d", default="{}")
    parser.add_argument("address")
    parser.add_argument("what")  # list, or service/method
    options = parser.parse_args()
    metadata = []
    for header in options.H:
        name, _, value = header.partition(":")
        if options.expand_headers:
            value = re.sub(r"\$\{(\w+)\}", lambda match: os.environ[match[1]], value)
        metadata.append((name.strip().lower(), value.strip()))

    class WithMetadata(grpc.UnaryUnaryClientInterceptor, grpc.UnaryStreamClientInterceptor,
                       grpc.StreamStreamClientInterceptor):
        def intercept_unary_unary(self, continuation, details, request):
            return continuation(details._replace(metadata=metadata), request)

        intercept_unary_stream = intercept_stream_stream = intercept_unary_unary

    settings = [("grpc.enable_http_proxy", 0)]
    if options.plaintext:
        plain = grpc.insecure_channel(options.address, options=settings)
    else:
        with open(options.cacert, "rb") as file:
            plain = grpc.secure_channel(options.address, grpc.ssl_channel_credentials(file.read()), options=settings)
    channel = grpc.intercept_channel(plain, WithMetadata())
    database = ProtoReflectionDescriptorDatabase(channel)
    if options.what == "list":
        print("\n".join(sorted(database.get_services())))
        return 0
    pool = descriptor_pool.DescriptorPool(database)
    service, _, name = options.what.partition("/")
    method = pool.FindServiceByName(service).methods_by_name[name]
    request_type, answer_type = map(message_factory.GetMessageClass, (method.input_type, method.output_type))
    request = json_format.Parse(options.d, request_type(), descriptor_pool=pool)
    call = (channel.unary_stream if method.server_streaming else channel.unary_unary)(
        f"/{options.what}", request_serializer=request_type.SerializeToString,
        response_deserializer=answer_type.FromString)
    try:
        answers = call(request, timeout=60)
        for answer in answers if method.server_streaming else [answers]:
            print(json_format.MessageToJson(answer, descriptor_pool=pool))
    except grpc.RpcError as error:
        print(f"ERROR:\n  Code: {error.code().name}\n  Message: {error.details()}", file=sys.stderr)
        return 64 + error.code().value[0]
    return 0


if __name__ == "__main__":
    sys.exit(main())
