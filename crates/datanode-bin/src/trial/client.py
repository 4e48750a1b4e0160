"""A stock Python gRPC client as load of a rolling restart.

usage: client.py EPOCH_UNIX_NS THREADS PACE FIRST_PARTITION LAST_PARTITION ADDRESS...

PACE is every:US, requests of a thread are due so far apart, or pause:US, from an
answer to the next request.

Knows nothing but reflection, and keeps to what the documentation tells stock
clients: round-robin over all addresses, a retry policy for UNAVAILABLE, wait
for ready, short reconnect back-off, a request id with each change. It judges
its own reads: a read must return at least the last version acknowledged before
it began. Lines on stdout, for the trial that started it:

  ready                              its objects are laid out, the load runs
  op KIND PARTITION BEGAN_US TOOK_US ok|error
                                     one request; times since the epoch
  error|stale|lost|wrong WORDS       a fault
  done OBJECTS READS                 after stdin was closed: what was read back
"""

import hashlib
import json
import random
import sys
import threading
import time
import uuid

import grpc
from google.protobuf import descriptor_pool, message_factory
from grpc_reflection.v1alpha.proto_reflection_descriptor_database import (
    ProtoReflectionDescriptorDatabase,
)

TIMEOUT_S = 30
SERVICE = "datanode.v1.ExtentService"
SERVICE_CONFIG = json.dumps(
    {
        "loadBalancingConfig": [{"round_robin": {}}],
        "methodConfig": [
            {
                "name": [{"service": SERVICE}],
                "waitForReady": True,
                "retryPolicy": {
                    "maxAttempts": 5,
                    "initialBackoff": "0.05s",
                    "maxBackoff": "0.5s",
                    "backoffMultiplier": 2,
                    "retryableStatusCodes": ["UNAVAILABLE"],
                },
            }
        ],
    }
)
OPTIONS = [
    ("grpc.service_config", SERVICE_CONFIG),
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.min_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 300),
    # The authority would be the list of addresses, which is not a valid one: the
    # node's HTTP/2 resets such streams with PROTOCOL_ERROR.
    ("grpc.default_authority", "datanode"),
    # Channels to the same addresses would share connections otherwise.
    ("grpc.use_local_subchannel_pool", 1),
]
BLOCK_LEN = 1024
PUT_LEN_MAX = 8 << 10
APPEND_LEN_MAX = 2 << 10
JOURNAL_LEN_MAX = 64 << 10
TAIL_LEN = 4 << 10

say_lock = threading.Lock()


def say(*words):
    with say_lock:
        print(*words, flush=True)


def content(seed, number, length):
    return hashlib.shake_128(f"{seed}:{number}".encode()).digest(length)


class Service:
    """The methods of a service, found by reflection, through any channel."""

    def __init__(self, channel):
        pool = descriptor_pool.DescriptorPool(ProtoReflectionDescriptorDatabase(channel))
        self.methods = {}
        for method in pool.FindServiceByName(SERVICE).methods:
            self.methods[method.name] = (
                f"/{SERVICE}/{method.name}",
                message_factory.GetMessageClass(method.input_type),
                message_factory.GetMessageClass(method.output_type),
                method.server_streaming,
            )

    def bind(self, channel):
        calls = {}
        for name, (path, request, response, streams) in self.methods.items():
            make = channel.unary_stream if streams else channel.unary_unary
            rpc = make(path, request.SerializeToString, response.FromString)
            calls[name] = (rpc, request, streams)

        def call(name, **fields):
            rpc, request, streams = calls[name]
            answer = rpc(request(**fields), timeout=TIMEOUT_S)
            return list(answer) if streams else answer

        return call


class Object:
    """An extent with what must be there (floor) and what may be (attempted)."""

    def __init__(self, kind, partition, extent, seed):
        self.kind, self.partition, self.extent, self.seed = kind, partition, extent, seed
        self.lock = threading.Lock()
        self.floor = self.attempted = 0
        self.data = b""

    def __str__(self):
        return f"{self.kind} partition {self.partition} extent {self.extent}"

    def raise_floor(self, to):
        with self.lock:
            self.floor = max(self.floor, to)

    def read(self, call):
        """Reads it and returns a fault, or None."""
        floor = self.floor
        offset = max(0, floor - TAIL_LEN) if self.kind == "journal" else 0
        try:
            frames = call(
                "ReadExtent",
                partition_id=self.partition,
                extent_id=self.extent,
                offset=offset,
                length=BLOCK_LEN if self.kind == "register" else 0,
            )
        except grpc.RpcError as error:
            if error.code() in (grpc.StatusCode.NOT_FOUND, grpc.StatusCode.OUT_OF_RANGE):
                return "stale", f"{self}: {error.code().name} {error.details()}"
            raise
        return self.judge(floor, offset, b"".join(frame.data for frame in frames))

    def judge(self, floor, offset, data):
        if self.kind == "whole":
            return None if data == self.data else ("wrong", f"{self}: {len(data)} other bytes")
        if self.kind == "register":
            seen = int.from_bytes(data[:8], "little")
            right = data == self.version(seen)
        else:
            seen = offset + len(data)
            with self.lock:
                right = data == self.data[offset:seen]
        if not right or seen > self.attempted:
            return "wrong", f"{self}: {seen} of {self.attempted}"
        if seen < floor:
            return "stale", f"{self}: {seen} after {floor}"
        self.raise_floor(seen)
        return None

    def version(self, number):
        return number.to_bytes(8, "little") + content(self.seed, number, BLOCK_LEN - 8)


class Load:
    def __init__(self, epoch_ns, call, partitions):
        self.epoch_ns, self.call, self.partitions = epoch_ns, call, partitions
        self.stopped = threading.Event()
        self.due = threading.local()
        self.objects = []  # append and index only: safe under the GIL
        self.registers = []

    def timed(self, kind, partition, action):
        """Runs one request and reports it; None after an error."""
        # One that is late counts from when it was due.
        start = getattr(self.due, "at", None) or time.perf_counter_ns()
        self.due.at = None
        began = (time.time_ns() - (time.perf_counter_ns() - start) - self.epoch_ns) // 1000
        outcome, result = "ok", None
        try:
            result = action()
        except grpc.RpcError as error:
            outcome = "error"
            took_ms = (time.perf_counter_ns() - start) / 1e6
            text = f"python {kind} partition {partition}: {error.code().name} {error.details()} ({took_ms:.0f} ms)"
            say("error", " ".join(text.split()))
        say("op", kind, partition, began, (time.perf_counter_ns() - start) // 1000, outcome)
        return result

    def change(self, kind, method, **fields):
        fields["request_id"] = uuid.uuid4().bytes
        return self.timed(kind, fields["partition_id"], lambda: self.call(method, **fields))

    def lay_out(self, partition):
        made = self.call("CreateExtent", partition_id=partition, request_id=uuid.uuid4().bytes)
        register = Object("register", partition, made.extent_id, random.getrandbits(60))
        register.attempted = 1
        self.call("WriteExtent", partition_id=partition, extent_id=register.extent,
                  offset=0, data=register.version(1), request_id=uuid.uuid4().bytes)
        register.floor = 1
        return register

    def work(self, mine, pace, late_ns):
        """One worker: the only writer of the registers in `mine`."""
        chance, journal = random.Random(), None
        mode, ns = pace
        due = time.perf_counter_ns() + late_ns
        while not self.stopped.is_set():
            pause = max(0, due - time.perf_counter_ns()) if mode == "every" else ns
            if self.stopped.wait(pause / 1e9):
                return  # the next one is not due any more
            if mode == "every":
                self.due.at, due = due, due + ns
            dice = chance.randrange(10)
            if dice < 2:
                self.put(chance)
            elif dice < 4:
                journal = self.append(chance, journal)
            elif dice < 7 and mine:
                self.write(chance.choice(mine))
            else:
                pick_from = chance.choice([self.registers, self.objects or self.registers])
                self.read(chance.choice(pick_from))

    def put(self, chance):
        partition, seed = chance.choice(self.partitions), chance.getrandbits(60)
        data = content(seed, 0, chance.randint(1, PUT_LEN_MAX))
        answer = self.change("put", "PutExtent", partition_id=partition, data=data)
        if answer is not None:
            whole = Object("whole", partition, answer.extent_id, seed)
            whole.data = data
            self.objects.append(whole)

    def append(self, chance, journal):
        if journal is None:
            partition = chance.choice(self.partitions)
            answer = self.change("create", "CreateExtent", partition_id=partition)
            if answer is None:
                return None
            journal = Object("journal", partition, answer.extent_id, chance.getrandbits(60))
            self.objects.append(journal)
        offset = journal.attempted
        data = content(journal.seed, offset, chance.randint(1, APPEND_LEN_MAX))
        with journal.lock:
            journal.data += data
            journal.attempted += len(data)
        answer = self.change("append", "AppendExtent", partition_id=journal.partition,
                             extent_id=journal.extent, data=data)
        if answer is None:
            return None  # It may still be applied: nothing more is written there.
        if answer.offset != offset:
            fault = "lost" if answer.offset < offset else "wrong"
            say(fault, f"{journal}: an append went to {answer.offset}, not to {offset}")
            return None
        journal.raise_floor(journal.attempted)
        return journal if journal.attempted < JOURNAL_LEN_MAX else None

    def write(self, register):
        if register.attempted > register.floor:
            return  # The outcome of the last one is unknown.
        register.attempted += 1
        version = register.attempted
        answer = self.change("write", "WriteExtent", partition_id=register.partition,
                             extent_id=register.extent, offset=0, data=register.version(version))
        if answer is not None:
            register.raise_floor(version)

    def read(self, thing):
        fault = self.timed("read", thing.partition, lambda: thing.read(self.call))
        if fault:
            say(*fault)

    def read_back(self, addresses, service):
        """Reads everything through every node."""
        everything, reads, blamed = self.registers + self.objects, 0, set()
        for address in addresses:
            deaf = set()  # Once is enough, with a time-out each.
            with grpc.insecure_channel(address, OPTIONS) as channel:
                call = service.bind(channel)
                for thing in everything:
                    if thing.partition in deaf:
                        continue
                    reads += 1
                    try:
                        fault = thing.read(call)
                    except grpc.RpcError as error:
                        deaf.add(thing.partition)
                        say("error", f"python read back {thing} through {address}:",
                            " ".join(f"{error.code().name} {error.details()}".split()))
                        continue
                    if fault and thing not in blamed:
                        blamed.add(thing)
                        kind, words = fault
                        say("lost" if kind == "stale" else kind, words, "through", address)
        say("done", len(everything), reads)


def main():
    epoch_ns, count, first, last = map(int, sys.argv[1:3] + sys.argv[4:6])
    mode, micros = sys.argv[3].split(":")
    pace = mode, int(micros) * 1000
    addresses = sys.argv[6:]
    partitions = list(range(first, last + 1))
    with grpc.insecure_channel("ipv4:" + ",".join(addresses), OPTIONS) as channel:
        service = Service(channel)
        load = Load(epoch_ns, service.bind(channel), partitions)
        load.registers = [load.lay_out(partition) for partition in partitions]
        threads = [
            threading.Thread(
                target=load.work, args=(load.registers[n::count], pace, pace[1] * n // count)
            )
            for n in range(count)
        ]
        for thread in threads:
            thread.start()
        say("ready")
        sys.stdin.read()
        load.stopped.set()
        for thread in threads:
            thread.join()
        load.read_back(addresses, service)


if __name__ == "__main__":
    main()
