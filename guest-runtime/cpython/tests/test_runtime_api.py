"""Clients of Lambda's Runtime API: AWS's own, as it is on PyPI, and one that does what it should not."""

import json
import pathlib
import sys
import unittest

import packages
from driver import INVOKE, PYTHON, REQUEST_ID, RESTORED, Gone, TestCase, error_of, frame

# A client in a few lines: the handler answers with what `ask` returned.
CLIENT = """
import http.client, json, os, sys
connection = http.client.HTTPConnection(os.environ["AWS_LAMBDA_RUNTIME_API"])

def ask(method, path, body=None):
    connection.request(method, "/2018-06-01/runtime/" + path, body, encode_chunked=body is not None)
    response = connection.getresponse()
    return response.status, dict(response.getheaders()), response.read().decode()

def next_event():
    status, headers, body = ask("GET", "invocation/next")
    assert status == 200, body
    return headers["Lambda-Runtime-Aws-Request-Id"], headers, json.loads(body)

def respond(id, value, kind="response"):
    return ask("POST", f"invocation/{id}/{kind}", json.dumps(value))
"""
ENVIRONMENT = {"MAYFLY_RUNTIME_INTERFACE": "client"}


class OwnClient(TestCase):
    def client(self, source):
        program = self.start({"client.py": CLIENT + source})
        program.init("some.handler", ENVIRONMENT)
        return program

    def test_events_come_with_headers(self):
        program = self.client(
            "while True:\n"
            "    id, headers, event = next_event()\n"
            "    respond(id, [sys.argv[1:], event, {name: headers[name] for name in headers if name.startswith('Lambda')}])\n"
        )
        prefix = "Lambda-Runtime-"
        always = {prefix + "Aws-Request-Id": REQUEST_ID, prefix + "Deadline-Ms": "5"}
        always[prefix + "Invoked-Function-Arn"] = "arn:aws:lambda:us-east-1:123456789012:function:f"
        self.assertEqual(program.invoke({"a": 1}, deadline_ms=5), [["some.handler"], {"a": 1}, always])
        answer = program.invoke(
            [], deadline_ms=5, trace_id="Root=1", client_context={"custom": {}}, identity={"a": "b"}, tenant_id="t"
        )
        more = {"Trace-Id": "Root=1", "Client-Context": '{"custom": {}}', "Cognito-Identity": '{"a": "b"}'}
        more["Aws-Tenant-Id"] = "t"
        self.assertEqual(answer[2], {**always, **{prefix + name: value for name, value in more.items()}})

    def test_what_is_out_of_order_is_refused(self):
        program = self.client(
            "id, _, event = next_event()\n"
            "seen = [ask('GET', 'invocation/next'), respond('other', 1), ask('GET', 'no/such'), ask('POST', 'no', 'x'),\n"
            "        ask('POST', 'init/error', '{}')]\n"
            "respond(id, [(status, json.loads(body)['errorType']) for status, _, body in seen])\n"
            "again = respond(id, 2)\n"
            "id, _, event = next_event()\n"
            "respond(id, again[0])\n"
        )
        self.assertEqual(
            program.invoke({}),
            [
                [403, "InvalidStateTransition"],
                [400, "InvalidRequestID"],
                [404, "ResourceNotFound"],
                [404, "ResourceNotFound"],
                [403, "InvalidStateTransition"],
            ],
        )
        self.assertEqual(program.invoke({}), 400)

    def test_errors_are_passed_on(self):
        program = self.client("id, _, event = next_event()\nrespond(id, {'errorType': 'Mine'}, 'error')\nnext_event()\n")
        self.assertEqual(program.error({}), {"errorType": "Mine"})

    def test_an_answer_may_come_in_chunks_or_be_too_large(self):
        program = self.client(
            "id, _, event = next_event()\n"
            "pieces = iter([b'[1,', b' 2]'])\n"
            "status = ask('POST', f'invocation/{id}/response', pieces)[0]\n"
            "id, _, event = next_event()\n"
            "status = status, respond(id, 'x' * (9 << 20))[0]\n"
            "id, _, event = next_event()\n"
            "respond(id, status)\n"
        )
        self.assertEqual(program.invoke({}), [1, 2])
        self.assertEqual(program.error({})["errorType"], "Function.ResponseSizeTooLarge")
        self.assertEqual(program.invoke({}), [202, 413])

    def test_an_error_of_initialization_answers_every_event(self):
        source = CLIENT + "ask('POST', 'init/error', json.dumps({'errorType': 'Early'}))\nsys.exit(1)\n"
        program = self.start({"client.py": source})
        for answer in (error_of(program.init, "x", ENVIRONMENT), program.error({}), program.error({})):
            self.assertEqual(answer, {"errorType": "Early"})

    def test_a_client_that_ends_ends_the_program(self):
        program = self.client("id, _, event = next_event()\nsys.exit(event)\n")
        self.assertRaises(Gone, program.invoke, 5)
        self.assertEqual(program.exit_status(), 5)

    def test_a_client_that_is_not_there(self):
        for name in ("not_there", "not.there"):
            program = self.start({})
            error = error_of(program.init, "x", {"MAYFLY_RUNTIME_INTERFACE": name})
            self.assertEqual(error["errorType"], "Runtime.ImportModuleError")
            self.assertIn(f"'{name}'", error["errorMessage"])
            self.assertEqual(program.error({}), error)


class AwsLambdaRic(TestCase):
    """AWS's client with its native part, unmodified."""

    def function(self, source, environment=(), **more):
        program = self.start({"app.py": source}, **more)
        packages.add(packages.AWS_CLIENT, program.task_root)
        version = "AWS_Lambda_python%d.%d" % sys.version_info[:2]
        variables = {"MAYFLY_RUNTIME_INTERFACE": "awslambdaric", "AWS_EXECUTION_ENV": version, **dict(environment)}
        program.answer = program.send(1, program.init_meta("app.handler", variables))
        return program

    def test_it_answers(self):
        program = self.function(
            "import logging, random\nlogging.getLogger().setLevel('INFO')\nstate = random.getstate()\n"
            "def handler(event, context):\n"
            "    logging.info('seen')\n"
            "    known = context.client_context\n"
            "    return [event, context.aws_request_id, known and known.custom, random.getstate() == state,\n"
            "            context.log_stream_name]"
        )
        self.assertEqual(program.answer, b"")
        for event in ({"a": "äöü"}, "x" * 1_000_000):
            self.assertEqual(program.invoke(event), [event, REQUEST_ID, None, True, None])
        meta = {"client_context": {"custom": {"b": 2}}}
        meta["restore"] = {"environment": {"AWS_LAMBDA_LOG_STREAM_NAME": "mine"}}
        self.assertEqual(program.invoke(1, RESTORED, **meta), [1, REQUEST_ID, {"b": 2}, False, "mine"])
        self.assertRegex(program.stdout(), rf"^\[INFO\]\t[0-9T:.-]*Z\t{REQUEST_ID}\tseen\n")

    def test_its_errors_are_ours(self):
        source = "def handler(event, context):\n    if event: return {1}\n    raise KeyError('missing')\n"
        theirs, ours = self.function(source), super().function(source)
        for event in (0, 1):
            expected = ours.error(event)
            expected["stackTrace"] = [line.replace(str(ours.task_root), str(theirs.task_root)) for line in expected["stackTrace"]]
            self.assertEqual(theirs.error(event), expected)
        self.assertEqual(theirs.error(0)["stackTrace"], [frame(theirs, 3, "handler", "raise KeyError('missing')")])

    def test_a_function_that_cannot_be_imported(self):
        program = self.start({"app.py": "import not_there"})
        packages.add(packages.AWS_CLIENT, program.task_root)
        error = error_of(program.init, "app.handler", {"MAYFLY_RUNTIME_INTERFACE": "awslambdaric"})
        self.assertEqual(error["errorType"], "Runtime.ImportModuleError")
        self.assertEqual(error["errorMessage"], "Unable to import module 'app': No module named 'not_there'")
        self.assertEqual(program.error({}), error)

    def test_an_exit_is_the_programs(self):
        program = self.function("import sys\ndef handler(*_): sys.exit(4)")
        self.assertRaises(Gone, program.send, INVOKE, {"request_id": "1", "deadline_ms": 1}, b"{}")
        self.assertEqual(program.exit_status(), 4)


class Marshalling(unittest.TestCase):
    """The same results through AWS's marshaller and through ours."""

    def test_results_are_those_of_awslambdaric(self):
        command = [PYTHON, "-B", str(pathlib.Path(__file__).with_name("compare_results.py"))]
        results = json.loads(packages.run(packages.AWS_CLIENT, command))
        self.assertGreater(len(results), 30)
        for expression, theirs, ours in results:
            self.assertEqual(ours, theirs, expression)
