"""As much of Lambda's API as deploys and invokes a function."""

import base64
import json
import time
import urllib.error
import urllib.request

# Importing a large package takes a while on a busy machine; a deploy that takes longer hangs.
PATIENCE_S = 300
ROLE = "arn:aws:iam::000000000000:role/wheels"


class Failed(Exception):
    """The function, or its deploy, failed."""


class Client:
    def __init__(self, endpoint):
        self._functions = f"{endpoint}/2015-03-31/functions"

    def create(self, name, archive, configuration):
        """Deploys it and waits until it is there."""
        code = {"ZipFile": base64.b64encode(archive).decode()}
        self._call("POST", "", {"FunctionName": name, "Role": ROLE, "Code": code, **configuration})
        deadline = time.monotonic() + PATIENCE_S
        while True:
            state = json.loads(self._call("GET", f"/{name}/configuration")[0])
            if state["State"] != "Pending":
                break
            if time.monotonic() > deadline:
                raise Failed(f"still pending after {PATIENCE_S} s")
            time.sleep(0.02)
        if state["State"] != "Active":
            raise Failed(f"{state['State']}: {state.get('StateReason')}")

    def invoke(self, name, event):
        """The answer's bytes. Raises what the function failed with and the end of its log."""
        answer, headers = self._call("POST", f"/{name}/invocations", event, {"X-Amz-Log-Type": "Tail"})
        if headers.get("X-Amz-Function-Error"):
            log = base64.b64decode(headers.get("X-Amz-Log-Result", "")).decode(errors="replace")
            raise Failed(f"{answer.decode(errors='replace')}\n{log}")
        return answer

    def delete(self, name):
        try:
            self._call("DELETE", f"/{name}")
        except Failed as error:
            if "ResourceNotFoundException" not in str(error):
                raise

    def _call(self, method, path, body=None, headers=()):
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        request = urllib.request.Request(self._functions + path, data, dict(headers), method=method)
        request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return response.read(), response.headers
        except urllib.error.HTTPError as error:
            kind = error.headers.get("x-amzn-ErrorType")
            raise Failed(f"{error.code} {kind}: {error.read().decode(errors='replace')}") from None
