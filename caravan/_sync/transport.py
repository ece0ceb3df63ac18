# Made from caravan/_async/transport.py by tools/sync_client.py. Do not edit.
"""Makes calls: channels, attempts, and the choice between the gateway and a replica."""

import threading
import time
from collections.abc import Generator, Iterable
from dataclasses import dataclass
from itertools import chain
from typing import TypeVar, cast

import grpc
from google.protobuf.message import Message

from caravan.attempts import Attempts
from caravan.config import CallOptions, Connection
from caravan.endpoints import Endpoints, Key, key_of, resolve_request
from caravan.errors import FailedCall, RpcError, from_call
from caravan.exchanges import Exchange
from caravan.methods import Method, method_of
from caravan.registry.v1 import routes_pb2

R = TypeVar("R", bound=Message)


@dataclass(frozen=True)
class _Leg:
    """Where one attempt goes."""

    channel: grpc.Channel
    address: str
    key: Key | None
    """What was resolved to find the replica; None: this is the gateway."""


class Transport:
    """The channels of a client and the calls on them."""

    def __init__(self, connection: Connection) -> None:
        """Opens nothing yet.

        Args:
            connection: How to connect.
        """
        self.connection = connection
        self.endpoints = Endpoints()
        self._channels: dict[str, grpc.Channel] = {}
        self._lock = threading.Lock()

    @property
    def channel(self) -> grpc.Channel:
        """The channel to the gateway."""
        return self._channel(self.connection.target)

    def unary(self, request: Message, response_type: type[R], options: CallOptions) -> R:
        """Makes a call that has one response.

        Args:
            request: The request; its class says which RPC this is.
            response_type: Class of the response.
            options: What applies to the call.

        Raises:
            RpcError: The call failed.
        """
        method, attempts = method_of(request), Attempts(options)
        while True:
            leg = self._leg(method, request, attempts)
            call = leg.channel.unary_unary(
                method.path,
                request_serializer=type(request).SerializeToString,
                response_deserializer=response_type.FromString,
            )
            try:
                with self.endpoints.running(leg.address):
                    return call(request, timeout=attempts.remaining(), metadata=attempts.metadata())
            except grpc.RpcError as error:
                pause = self._pause_or_raise(leg, attempts, error)
            time.sleep(pause)

    def stream(self, request: Message, response_type: type[R], options: CallOptions) -> Generator[R, None, None]:
        """Makes a call whose response is a stream. Closing the generator cancels the call.

        Args:
            request: The request; its class says which RPC this is.
            response_type: Class of each response.
            options: What applies to the call.

        Raises:
            RpcError: The call failed.
        """
        method, attempts = method_of(request), Attempts(options)
        while True:
            leg = self._leg(method, request, attempts)
            begin = leg.channel.unary_stream(
                method.path,
                request_serializer=type(request).SerializeToString,
                response_deserializer=response_type.FromString,
            )
            call = begin(request, timeout=attempts.remaining(), metadata=attempts.metadata())
            produced = False
            try:
                with self.endpoints.running(leg.address):
                    for message in call:
                        produced = True
                        yield message
            except grpc.RpcError as error:
                if produced:
                    raise self._translate(leg, attempts, error) from error
                pause = self._pause_or_raise(leg, attempts, error)
            else:
                return
            finally:
                call.cancel()
            time.sleep(pause)

    def exchange(
        self, first: Message, rest: Iterable[Message], response_type: type[R], options: CallOptions
    ) -> Generator[R, None, None]:
        """Makes a call in which both sides stream. It is not made again. Closing the generator cancels the call.

        Args:
            first: The first request; its class says which RPC this is.
            rest: The requests that follow.
            response_type: Class of each response.
            options: What applies to the call.

        Raises:
            RpcError: The call failed.
        """
        method, attempts = method_of(first), Attempts(options)
        leg = self._leg(method, first, attempts)
        begin = leg.channel.stream_stream(
            method.path,
            request_serializer=type(first).SerializeToString,
            response_deserializer=response_type.FromString,
        )
        call = Exchange(begin, chain([first], rest), attempts.remaining(), attempts.metadata())
        try:
            with self.endpoints.running(leg.address):
                yield from call
        except grpc.RpcError as error:
            raise self._translate(leg, attempts, error) from error
        finally:
            call.cancel()

    def close(self) -> None:
        """Closes the channels; calls that run are cancelled."""
        with self._lock:
            channels = list(self._channels.values())
            self._channels.clear()
        for channel in channels:
            channel.close()

    def _leg(self, method: Method, request: Message, attempts: Attempts) -> _Leg:
        key = key_of(method, method.resource_id(request)) if attempts.direct else None
        if key:
            address = self.endpoints.choose(key) or self._resolve(key, attempts)
            if address:
                return _Leg(self._channel(address), address, key)
        return _Leg(self.channel, self.connection.target, None)

    def _resolve(self, key: Key, attempts: Attempts) -> str | None:
        """Asks the gateway; when it cannot tell, the call itself goes there and its answer says why."""
        request = resolve_request(key)
        call = self.channel.unary_unary(
            method_of(request).path,
            request_serializer=routes_pb2.ResolveRequest.SerializeToString,
            response_deserializer=routes_pb2.ResolveResponse.FromString,
        )
        try:
            answer = call(request, timeout=attempts.remaining(), metadata=attempts.metadata())
        except grpc.RpcError:
            return None
        self.endpoints.learn(key, answer)
        return self.endpoints.choose(key)

    def _pause_or_raise(self, leg: _Leg, attempts: Attempts, failure: grpc.RpcError) -> float:
        error = self._translate(leg, attempts, failure)
        if leg.key:
            self.endpoints.forget(leg.key)
        pause = attempts.pause_after(error, was_direct=leg.key is not None)
        if pause is None:
            raise error from failure
        return pause

    def _translate(self, leg: _Leg, attempts: Attempts, failure: grpc.RpcError) -> RpcError:
        return from_call(cast("FailedCall", failure), target=leg.address, request_id=attempts.request_id)

    def _channel(self, address: str) -> grpc.Channel:
        with self._lock:
            channel = self._channels.get(address)
            if channel is None:
                channel = self._channels[address] = self._open(address)
            return channel

    def _open(self, address: str) -> grpc.Channel:
        options = self.connection.channel_options
        if address != self.connection.target:
            # A replica that does not answer must not hold a call up for long: the gateway is there.
            options.append(("grpc.min_reconnect_backoff_ms", 2000))
        if self.connection.tls:
            return grpc.secure_channel(address, self.connection.tls.credentials(), options)
        return grpc.insecure_channel(address, options)
