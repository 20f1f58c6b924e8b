"""The `context` argument of a handler."""

import sys
import time


# What of a W3C trace context may come with an invocation.
_W3C_FIELDS = ("traceparent", "tracestate", "baggage")

# What is the same for every invocation of this function. Filled by `initialize`.
of_function = dict.fromkeys(
    ("function_name", "function_version", "memory_limit_in_mb", "log_group_name", "log_stream_name")
)


class LambdaContext:
    """Documented at https://docs.aws.amazon.com/lambda/latest/dg/python-context.html."""

    def __init__(self, meta):
        client_context = meta.get("client_context")
        # All attributes at once: one by one they would take a tenth of a small invocation.
        self.__dict__ = {
            **of_function,
            "aws_request_id": meta["request_id"],
            "invoked_function_arn": meta.get("invoked_function_arn"),
            "tenant_id": meta.get("tenant_id"),
            "client_context": None if client_context is None else ClientContext(client_context),
            "identity": CognitoIdentity(meta.get("identity")),
            "_epoch_deadline_time_in_ms": meta["deadline_ms"],
            "_w3c": None if client_context is None else client_context.get("w3c"),
        }

    def get_remaining_time_in_millis(self):
        remaining_ms = self._epoch_deadline_time_in_ms - int(time.time() * 1000)
        return remaining_ms if remaining_ms > 0 else 0

    def w3c(self):
        """The fields of the W3C trace context that came in the client context."""
        fields = self._w3c if isinstance(self._w3c, dict) else {}
        return {name: fields[name] for name in _W3C_FIELDS if isinstance(fields.get(name), str)}

    def log(self, msg):
        """Writes to the function's log as is, without a line end."""
        sys.stdout.write(str(msg))

    def __repr__(self):
        return _represent(
            self,
            "aws_request_id",
            "log_group_name",
            "log_stream_name",
            "function_name",
            "memory_limit_in_mb",
            "function_version",
            "invoked_function_arn",
            "client_context",
            "identity",
            "tenant_id",
        )


class CognitoIdentity:
    """Always there; its fields are None unless the caller had a Cognito identity."""

    __slots__ = ["cognito_identity_id", "cognito_identity_pool_id"]

    def __init__(self, fields):
        self.cognito_identity_id = fields and fields.get("cognitoIdentityId")
        self.cognito_identity_pool_id = fields and fields.get("cognitoIdentityPoolId")

    def __repr__(self):
        return _represent(self, *self.__slots__)


class Client:
    """The mobile client, as it described itself in the client context."""

    __slots__ = ["installation_id", "app_title", "app_version_name", "app_version_code", "app_package_name"]

    def __init__(self, fields):
        for name in self.__slots__:
            setattr(self, name, fields.get(name))

    def __repr__(self):
        return _represent(self, *self.__slots__)


class ClientContext:
    """What the caller sent in X-Amz-Client-Context."""

    __slots__ = ["custom", "env", "client"]

    def __init__(self, fields):
        self.custom = fields.get("custom")
        self.env = fields.get("env")
        client = fields.get("client")
        self.client = None if client is None else Client(client)

    def __repr__(self):
        return _represent(self, *self.__slots__)


def _represent(value, *names):
    fields = ",".join(f"{name}={getattr(value, name)}" for name in names)
    return f"{type(value).__name__}([{fields}])"
