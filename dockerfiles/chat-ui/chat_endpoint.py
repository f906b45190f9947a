"""The OpenAI-compatible endpoint that the page talks to."""

import json

import httpx
from chat_messages import explain_refusal

# Between two parts of an answer: a long prompt may be read for minutes before the first one.
READ_LIMIT_S = 600
CONNECT_LIMIT_S = 10
LIST_LIMIT_S = 5


class EndpointError(Exception):
    """The endpoint did not answer as it should; the text is for the user."""


class Endpoint:
    """`url` ends in /v1; `key` is sent as a bearer token."""

    def __init__(self, url, key=""):
        self.url = url.rstrip("/")
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        limits = httpx.Timeout(READ_LIMIT_S, connect=CONNECT_LIMIT_S)
        # Proxies of the environment are for the outside; the engine is a neighbour.
        self._client = httpx.Client(headers=headers, timeout=limits, trust_env=False)

    def list_models(self):
        """Their names. Raises EndpointError."""
        try:
            answer = self._client.get(f"{self.url}/models", timeout=LIST_LIMIT_S)
            if answer.status_code != httpx.codes.OK:
                raise EndpointError(explain_refusal(answer.status_code, _read_body(answer)))
            return [str(model["id"]) for model in answer.json()["data"]]
        except httpx.HTTPError as err:
            raise EndpointError(f"{self.url} cannot be reached: {err}") from err
        except (ValueError, KeyError, TypeError) as err:
            raise EndpointError(f"{self.url}/models does not answer like an OpenAI endpoint") from err

    def stream(self, body):
        """The events of a streamed answer. Raises EndpointError. Closing the generator ends the request."""
        try:
            with self._client.stream("POST", f"{self.url}/chat/completions", json=body) as answer:
                if answer.status_code != httpx.codes.OK:
                    answer.read()
                    raise EndpointError(explain_refusal(answer.status_code, _read_body(answer)))
                yield from _read_events(answer.iter_lines())
        except httpx.HTTPError as err:
            raise EndpointError(f"{self.url}: {str(err) or type(err).__name__}") from err


def _read_events(lines):
    for line in lines:
        if not line.startswith("data:"):
            continue
        data = line[5:].strip()
        if data == "[DONE]":
            return
        try:
            event = json.loads(data)
        except ValueError as err:
            raise EndpointError(f"the stream holds what is not JSON: {data[:200]}") from err
        if event.get("error"):
            raise EndpointError(explain_refusal(200, event))
        yield event
    raise EndpointError("the stream broke off before its end")


def _read_body(answer):
    try:
        return answer.json()
    except ValueError:
        return answer.text
