"""A stock Python gRPC client that knows nothing but reflection.

usage: client.py PARTITION_ID ADMIN_ADDRESS CLIENT_ADDRESS...

Puts an extent through each client address, reads each of them back through
every address, asks the admin port for its status and health, and reads the
ErrorInfo of wrong requests. Prints one line a step; exits 1 at the first
thing that is not as the contract says.
"""

import sys

import grpc
from google.protobuf import descriptor_pool, message_factory
from google.rpc import error_details_pb2
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)
from grpc_status import rpc_status

TIMEOUT_S = 20
RETRY = """{"methodConfig": [{"name": [{"service": "datanode.v1.ExtentService"}],
  "waitForReady": true, "retryPolicy": {"maxAttempts": 5, "initialBackoff": "0.1s",
  "maxBackoff": "1s", "backoffMultiplier": 2, "retryableStatusCodes": ["UNAVAILABLE"]}}]}"""


def crc32c(data):
    """CRC-32C (RFC 3720), bit by bit: slow, and nobody else's code."""
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    crc = 0xFFFFFFFF
    for byte in data:
        crc = crc >> 8 ^ table[(crc ^ byte) & 0xFF]
    return crc ^ 0xFFFFFFFF


class Service:
    """The methods of one service, found by reflection."""

    def __init__(self, channel, name):
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self.channel = channel
        self.service = pool.FindServiceByName(name)

    def call(self, method, **fields):
        found = self.service.methods_by_name[method]
        request = message_factory.GetMessageClass(found.input_type)
        response = message_factory.GetMessageClass(found.output_type)
        path = f"/{self.service.full_name}/{method}"
        kind = self.channel.unary_stream if found.server_streaming else self.channel.unary_unary
        rpc = kind(path, request.SerializeToString, response.FromString)
        answer = rpc(request(**fields), timeout=TIMEOUT_S)
        return list(answer) if found.server_streaming else answer


def check(what, got, wanted):
    if got != wanted:
        sys.exit(f"{what}: got {got!r}, wanted {wanted!r}")
    print(f"{what}: {got!r}" if len(repr(got)) < 60 else f"{what}: as wanted")


def error_info(service, method, **fields):
    """The code and ErrorInfo of a call that must fail."""
    try:
        service.call(method, **fields)
    except grpc.RpcError as error:
        info = error_details_pb2.ErrorInfo()
        status = rpc_status.from_call(error)
        for detail in status.details if status else []:
            if detail.Is(info.DESCRIPTOR):
                detail.Unpack(info)
        return error.code(), info
    sys.exit(f"{method}({fields}) did not fail")


def main():
    partition, admin, *clients = sys.argv[1:]
    partition = int(partition)
    options = [("grpc.service_config", RETRY), ("grpc.max_reconnect_backoff_ms", 1000)]
    channels = [grpc.insecure_channel(address, options) for address in clients]
    services = [Service(channel, "datanode.v1.ExtentService") for channel in channels]

    check("CRC-32C of the check value", crc32c(b"123456789"), 0xE3069283)
    stored = {}
    for number, service in enumerate(services):
        data = f"through {clients[number]} ".encode() * 1000
        answer = service.call(
            "PutExtent",
            partition_id=partition,
            data=data,
            crc32c=crc32c(data),
            request_id=number.to_bytes(16, "big"),
        )
        check(f"size put through node {number + 1}", answer.size, len(data))
        stored[answer.extent_id] = data
    check("extents put", len(stored), len(clients))

    for number, service in enumerate(services):
        for extent, data in stored.items():
            frames = service.call("ReadExtent", partition_id=partition, extent_id=extent)
            check(
                f"extent {extent} through node {number + 1}",
                b"".join(frame.data for frame in frames) == data
                and all(crc32c(frame.data) == frame.crc32c for frame in frames),
                True,
            )

    some = next(iter(stored))
    for what, method, fields, code, reason in [
        ("unknown partition", "StatExtent", {"partition_id": 2**62, "extent_id": 1},
         grpc.StatusCode.NOT_FOUND, "PARTITION_NOT_FOUND"),
        ("unknown extent", "StatExtent", {"partition_id": partition, "extent_id": 2**62},
         grpc.StatusCode.NOT_FOUND, "EXTENT_NOT_FOUND"),
        ("offset beyond the end", "ReadExtent",
         {"partition_id": partition, "extent_id": some, "offset": 10**9},
         grpc.StatusCode.OUT_OF_RANGE, "OFFSET_OUT_OF_RANGE"),
        ("wrong checksum", "PutExtent", {"partition_id": partition, "data": b"x", "crc32c": 1},
         grpc.StatusCode.INVALID_ARGUMENT, "REQUEST_CHECKSUM_MISMATCH"),
        ("sealed", "AppendExtent", {"partition_id": partition, "extent_id": some, "data": b"x"},
         grpc.StatusCode.FAILED_PRECONDITION, "EXTENT_SEALED"),
    ]:
        got, info = error_info(services[0], method, **fields)
        check(f"{what}: code", got, code)
        check(f"{what}: ErrorInfo", (info.domain, info.reason), ("datanode", reason))

    with grpc.insecure_channel(admin) as channel:
        status = Service(channel, "datanode.v1.NodeService").call("GetStatus")
        check("ready by the admin port", status.ready, True)
        for name, where in [("admin", channel), ("client", channels[0])]:
            health = health_pb2_grpc.HealthStub(where)
            got = health.Check(health_pb2.HealthCheckRequest(), timeout=TIMEOUT_S).status
            check(f"health on the {name} port", got, health_pb2.HealthCheckResponse.SERVING)
    print("all as the contract says")


if __name__ == "__main__":
    main()
