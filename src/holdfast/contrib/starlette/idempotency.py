"""IdempotencyMiddleware for ASGI: see holdfast.contrib.idempotency for what it promises."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Unpack

from holdfast.contrib import idempotency
from holdfast.contrib.idempotency import Answer, IdempotencyPolicy, PolicyKeywords
from holdfast.errors import HoldfastError
from holdfast.operations._async import AsyncOperations
from holdfast.operations._calls_async import Replay
from holdfast.operations._operation_async import AsyncOperation
from holdfast.operations.current import CURRENT
from holdfast.operations.options import OperationLost

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]


class IdempotencyMiddleware:
    """Does requests with an `Idempotency-Key` once, and replays their answers.

        app.add_middleware(IdempotencyMiddleware, operations=hf.operations("http", ttl="24h"))

    `operations`: where answers are kept, for its `ttl`. Other keywords: as IdempotencyPolicy. The body of a
    request with a key is read before the view runs, and its answer is sent when it is complete and kept;
    other requests pass untouched.
    """

    def __init__(self, app: App, operations: AsyncOperations[Any], **policy: Unpack[PolicyKeywords]) -> None:
        """Raises: ConfigurationError."""
        self._app = app
        self._policy = chosen = IdempotencyPolicy(**policy)
        self._calls = operations.calls(
            "http", result=bytes, format="raw", wait=chosen.wait, interrupted=chosen.after_a_crash
        )

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """One request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        policy = self._policy
        headers = {
            name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]
        }
        method, path = scope["method"], scope["path"]
        key = idempotency.key_of(policy, method, path, headers.get(policy.header.lower()))
        if key is None:
            await self._app(scope, receive, send)
        elif isinstance(key, Answer):
            await _send(key, send)
        else:
            body = _Body(receive)
            target = f"{method} {path}?{scope.get('query_string', b'').decode('latin-1')}"
            beginning = await body.beginning(policy.most_compared)
            if beginning is not None:
                asked = idempotency.question(policy, headers, key, target, beginning)
                # Without extensions the answer comes in messages that can be kept.
                await self._once(asked, {**scope, "extensions": {}}, body, send)

    async def _once(
        self, asked: idempotency.Question, scope: MutableMapping[str, Any], body: _Body, send: Send
    ) -> None:
        """Answer `asked`: by the view, or as it was answered before."""
        try:
            operation = await self._calls.begin(asked.key, asked.fingerprint)
        except HoldfastError as error:
            await _send(_refused(error), send)
            return
        if isinstance(operation, Replay):
            await _send(idempotency.replayed(operation.result), send)
            return
        reply = _Reply(operation, self._policy, send)
        try:
            async with operation:
                token = CURRENT.set(operation)
                try:
                    await self._app(scope, body.receive, reply.send)
                finally:
                    CURRENT.reset(token)
                reply.check()
        except OperationLost as error:
            if reply.sent:
                raise
            lost = idempotency.problem(503, "The request was interrupted", str(error), retry_after=1)
            await _send(lost, send)


class _Reply:
    """What a view answers: collected, kept, and only then sent. Tasks in the background of the view go on
    after that.
    """

    def __init__(self, operation: AsyncOperation[Any], policy: IdempotencyPolicy, send: Send) -> None:
        self.sent = False
        self._operation = operation
        self._policy = policy
        self._send = send
        self._started: Message = {}
        self._parts: list[bytes] = []

    async def send(self, message: Message) -> None:
        """As the server's."""
        if message["type"] == "http.response.start":
            self._started = message
        elif message["type"] == "http.response.body":
            self._parts.append(bytes(message.get("body", b"")))
            if not message.get("more_body", False):
                await self._finish()

    async def _finish(self) -> None:
        headers = [
            (bytes(name).decode("latin-1"), bytes(value).decode("latin-1"))
            for name, value in self._started.get("headers", ())
        ]
        answer = Answer(self._started["status"], headers, b"".join(self._parts))
        if self._policy.keeps(answer.status):
            await self._operation.complete(idempotency.kept(self._policy, answer))
        else:
            await self._operation.fail(f"answered with status {answer.status}")
        self.sent = True
        await _send(answer, self._send)

    def check(self) -> None:
        """Raises: RuntimeError if there was no answer, as servers do."""
        if not self.sent:
            raise RuntimeError("the application returned without a complete response")


class _Body:
    """The body of a request, of which the beginning is read twice."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._read: list[Message] = []

    async def beginning(self, most: int) -> bytes | None:
        """The body, or `most + 1` bytes of it; None if the client has gone in the middle."""
        parts: list[bytes] = []
        while sum(map(len, parts)) <= most:
            message = await self._receive()
            self._read.append(message)
            if message["type"] != "http.request":
                return None
            parts.append(message.get("body", b""))
            if not message.get("more_body", False):
                break
        return b"".join(parts)[: most + 1]  # the network decides where parts end

    async def receive(self) -> Message:
        """As the server's."""
        return self._read.pop(0) if self._read else await self._receive()


async def _send(answer: Answer, send: Send) -> None:
    body = answer.body or b""
    headers = [(name, value) for name, value in answer.headers if name.lower() != "content-length"]
    raw = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    if answer.status >= 200 and answer.status not in {204, 304}:
        raw.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})


def _refused(error: Exception) -> Answer:
    answer = idempotency.refusal(error)
    if answer is None:
        raise error
    return answer
