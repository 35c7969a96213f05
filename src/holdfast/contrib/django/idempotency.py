"""IdempotencyMiddleware for Django: see holdfast.contrib.idempotency for what it promises.

    MIDDLEWARE = [..., "holdfast.contrib.django.IdempotencyMiddleware"]
    HOLDFAST_IDEMPOTENCY = {"operations": hf.operations("http", ttl="24h"), "required": True}

`operations` is an object of `Holdfast.operations`, or a function that returns one (called with the first
request). The other keys are those of IdempotencyPolicy. Put it behind whatever must see every request, such
as authentication, and before what should run once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.conf import settings  # type: ignore[import-untyped]
from django.http import HttpResponse  # type: ignore[import-untyped]

from holdfast.contrib import idempotency
from holdfast.contrib.idempotency import Answer, IdempotencyPolicy
from holdfast.errors import ConfigurationError, HoldfastError
from holdfast.operations._calls_sync import Calls, Replay
from holdfast.operations._sync import Operations
from holdfast.operations.current import CURRENT
from holdfast.operations.options import OperationLost

SETTING = "HOLDFAST_IDEMPOTENCY"


class IdempotencyMiddleware:
    """Does requests with an `Idempotency-Key` once, and replays their answers."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[Any], Any]) -> None:
        """Raises: ConfigurationError if the setting is missing or wrong."""
        self._get_response = get_response
        told = dict(getattr(settings, SETTING, None) or {})
        self._source = told.pop("operations", None)
        if self._source is None:
            raise ConfigurationError(
                f'{SETTING} must be a dict with "operations", as in '
                f'{{"operations": hf.operations("http", ttl="24h")}}'
            )
        self._policy = IdempotencyPolicy(**told)
        self._known: Calls | None = None

    def __call__(self, request: Any) -> Any:
        """One request."""
        policy = self._policy
        found = request.headers.get(policy.header)
        key = idempotency.key_of(policy, request.method, request.path, found)
        if key is None:
            return self._get_response(request)
        if isinstance(key, Answer):
            return _response(key)
        headers = {name.lower(): value for name, value in request.headers.items()}
        target = f"{request.method} {request.path}?{request.META.get('QUERY_STRING', '')}"
        body = request.body[: policy.most_compared + 1]
        return self._once(idempotency.question(policy, headers, key, target, body), request)

    def _once(self, asked: idempotency.Question, request: Any) -> Any:
        try:
            operation = self._calls().begin(asked.key, asked.fingerprint)
        except HoldfastError as error:
            return _refused(error)
        if isinstance(operation, Replay):
            return _response(idempotency.replayed(operation.result))
        try:
            with operation:
                token = CURRENT.set(operation)
                try:
                    response = self._get_response(request)
                finally:
                    CURRENT.reset(token)
                answer = _answer(response)
                if self._policy.keeps(answer.status):
                    operation.complete(idempotency.kept(self._policy, answer))
                else:
                    operation.fail(f"answered with status {answer.status}")
        except OperationLost as error:
            return _response(
                idempotency.problem(503, "The request was interrupted", str(error), retry_after=1)
            )
        return response

    def _calls(self) -> Calls:
        if self._known is None:
            source, policy = self._source, self._policy
            operations = source if isinstance(source, Operations) else source()
            self._known = operations.calls(
                "http", result=bytes, format="raw", wait=policy.wait, interrupted=policy.after_a_crash
            )
        return self._known


def _answer(response: Any) -> Answer:
    """The answer of a view. One that is streamed is read as a whole, and can then be sent all the same."""
    if response.streaming:
        body = b"".join(bytes(part) for part in response.streaming_content)
        response.streaming_content = [body]
    else:
        if hasattr(response, "render") and not response.is_rendered:
            response.render()
        body = response.content
    return Answer(response.status_code, list(response.items()), body)


def _response(answer: Answer) -> HttpResponse:
    response = HttpResponse(answer.body or b"", status=answer.status)
    for name, value in answer.headers:
        response[name] = value
    return response


def _refused(error: Exception) -> HttpResponse:
    answer = idempotency.refusal(error)
    if answer is None:
        raise error
    return _response(answer)
