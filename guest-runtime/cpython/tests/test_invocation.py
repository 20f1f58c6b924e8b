"""Context, environment, state between invocations."""

import pathlib

from driver import REQUEST_ID, TestCase


class Invocation(TestCase):
    def test_the_context_of_a_plain_invocation(self):
        program = self.function(
            "def handler(event, context):\n"
            "    return [context.aws_request_id, context.invoked_function_arn, context.function_name,\n"
            "            context.function_version, context.memory_limit_in_mb, context.log_group_name,\n"
            "            context.log_stream_name, context.client_context, context.identity.cognito_identity_id,\n"
            "            context.identity.cognito_identity_pool_id, context.tenant_id, context.w3c()]"
        )
        arn = "arn:aws:lambda:us-east-1:123456789012:function:f"
        expected = [REQUEST_ID, arn, "f", "7", "128", "/aws/lambda/f", "before", None, None, None, None, {}]
        self.assertEqual(program.invoke({}), expected)

    def test_what_the_caller_says_of_itself(self):
        program = self.function(
            "def handler(event, context):\n"
            "    known = context.client_context\n"
            "    return [known.custom, known.env, known.client.app_title, known.client.installation_id,\n"
            "            context.identity.cognito_identity_id, context.identity.cognito_identity_pool_id,\n"
            "            context.tenant_id, context.w3c()]"
        )
        answer = program.invoke(
            {},
            client_context={
                "custom": {"a": 1},
                "env": {"b": "2"},
                "client": {"app_title": "t"},
                "w3c": {"traceparent": "00-1", "other": "x", "baggage": 1},
            },
            identity={"cognitoIdentityId": "i", "cognitoIdentityPoolId": "p"},
            tenant_id="tenant",
        )
        self.assertEqual(answer, [{"a": 1}, {"b": "2"}, "t", None, "i", "p", "tenant", {"traceparent": "00-1"}])

    def test_the_remaining_time_runs_out(self):
        program = self.function(
            "import time\ndef handler(event, context):\n"
            "    before = context.get_remaining_time_in_millis()\n"
            "    time.sleep(0.05)\n"
            "    return [type(before).__name__, before, context.get_remaining_time_in_millis()]"
        )
        kind, before, after = program.invoke({})
        self.assertEqual(kind, "int")
        self.assertLessEqual(before, 3_000)
        self.assertTrue(before - after >= 50 or after == 0)
        self.assertEqual(program.invoke({}, deadline_ms=1), ["int", 0, 0])

    def test_the_trace_id_comes_and_goes(self):
        program = self.function("import os\ndef handler(*_): return os.environ.get('_X_AMZN_TRACE_ID')")
        for trace_id in ("Root=1-a", "Root=1-b", None, None):
            self.assertEqual(program.invoke({}, trace_id=trace_id), trace_id)

    def test_globals_live_on(self):
        program = self.function("n = 0\ndef handler(*_):\n  global n\n  n += 1\n  return n")
        self.assertEqual([program.invoke({}) for _ in range(3)], [1, 2, 3])

    def test_threads_go_on_between_invocations(self):
        program = self.function(
            "import threading, queue\n"
            "work, done = queue.Queue(), queue.Queue()\n"
            "def serve():\n"
            "    while True: done.put(work.get() * 2)\n"
            "threading.Thread(target=serve, daemon=True).start()\n"
            "def handler(event, context):\n"
            "    work.put(event)\n"
            "    return done.get()"
        )
        self.assertEqual([program.invoke(n) for n in (1, 2, 3)], [2, 4, 6])

    def test_an_invocation_reads_once_and_writes_once(self):
        program = self.function("def handler(event, context): return {'hello': event['name']}")
        invocations = 100
        counts = []
        for _ in range(2):
            for _ in range(invocations):
                program.invoke({"name": "x"})
            lines = pathlib.Path(f"/proc/{program.process.pid}/io").read_text().splitlines()
            counts.append({name: int(count) for name, count in (line.split(": ") for line in lines)})
        self.assertEqual(counts[1]["syscw"] - counts[0]["syscw"], invocations)
        # A read is counted when it returns; whether the last one has is a race.
        self.assertLessEqual(counts[1]["syscr"] - counts[0]["syscr"], invocations + 1)
