"""Results, exceptions, exits."""

import json

from driver import REQUEST_ID, Gone, TestCase, error_of, frame


class Answers(TestCase):
    def test_the_result_is_the_answer(self):
        program = self.function("def handler(event, context): return {'got': event}")
        self.assertEqual(program.invoke_bytes(b'{"a": [1, null]}'), b'{"got": {"a": [1, null]}}')

    def test_no_result_is_null(self):
        program = self.function("def handler(event, context): pass")
        self.assertEqual(program.invoke_bytes(b"{}"), b"null")

    def test_bytes_are_passed_on_as_they_are(self):
        program = self.function("def handler(event, context): return bytes([0, 255])")
        self.assertEqual(program.invoke_bytes(b"{}"), b"\0\xff")

    def test_an_event_larger_than_the_buffer_arrives_whole(self):
        program = self.function("def handler(event, context): return event")
        for characters in (100, 65_000, 70_000, 6 << 20):
            text = "x" * characters
            self.assertEqual(program.invoke(text), text)
        self.assertEqual(program.invoke(1), 1)

    def test_an_answer_that_no_record_holds_is_too_large(self):
        program = self.function("def handler(event, context): return 'x' * event")
        self.assertEqual(len(program.invoke(6 << 20)), 6 << 20)
        self.assertEqual(
            program.error(8 << 20),
            {
                "errorType": "Function.ResponseSizeTooLarge",
                "errorMessage": "Response payload size exceeded maximum allowed payload size (6291556 bytes).",
            },
        )

    def test_an_exception_has_class_message_and_only_the_functions_frames(self):
        program = self.function(
            "def inner():\n    raise KeyError('missing')\n\ndef handler(event, context):\n    return inner()\n"
        )
        expected = {
            "errorMessage": "'missing'",
            "errorType": "KeyError",
            "requestId": REQUEST_ID,
            "stackTrace": [
                frame(program, 5, "handler", "return inner()"),
                frame(program, 2, "inner", "raise KeyError('missing')"),
            ],
        }
        self.assertEqual(program.error({}), expected)
        self.assertEqual(program.error({}), expected, "and the function goes on")

    def test_a_result_that_is_not_json_is_a_marshal_error(self):
        program = self.function("def handler(event, context): return {'a': [{1}]}")
        self.assertEqual(
            program.error({}),
            {
                "errorMessage": "Unable to marshal response: Object of type set is not JSON serializable",
                "errorType": "Runtime.MarshalError",
                "requestId": REQUEST_ID,
                "stackTrace": [],
            },
        )

    def test_an_event_that_is_not_json_is_an_unmarshal_error(self):
        program = self.function("def handler(event, context): return event")
        for payload in (b"{,", b"", b"\xff", b"[1,]", b"1 2", b'"\n"', b"nul", b'"\\u12"'):
            error = error_of(program.invoke_bytes, payload)
            self.assertEqual(error["errorType"], "Runtime.UnmarshalError", payload)
            self.assertTrue(error["errorMessage"].startswith("Unable to unmarshal input: "), error)

    def test_endless_recursion_is_an_exception(self):
        program = self.function("def down(): down()\ndef handler(event, context): down()")
        error = program.error({})
        self.assertEqual(error["errorType"], "RecursionError")
        self.assertIn("[Previous line repeated", json.dumps(error["stackTrace"]))

    def test_an_exit_is_the_programs(self):
        for statement, status in (
            ("sys.exit()", 0),
            ("sys.exit(3)", 3),
            ("sys.exit('why')", 1),
            ("os._exit(4)", 4),
            ("raise KeyboardInterrupt", -2),
        ):
            with self.subTest(statement):
                program = self.function(f"import os, sys\ndef handler(event, context): {statement}")
                self.assertRaises(Gone, program.invoke, {})
                self.assertEqual(program.exit_status(), status)

    def test_what_is_no_exception_ends_the_program(self):
        program = self.function("def handler(event, context): raise BaseException('all over')")
        self.assertRaises(Gone, program.invoke, {})
        self.assertEqual(program.exit_status(), 1)
        self.assertTrue(program.stderr().endswith("BaseException: all over\n"), program.stderr())

    def test_no_more_events_end_the_program(self):
        program = self.function("def handler(event, context): pass")
        program.device.close()
        self.assertEqual(program.exit_status(), 0)
