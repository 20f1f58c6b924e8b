"""What is written where, and when."""

import json

from driver import REQUEST_ID, Gone, TestCase


class Logs(TestCase):
    def test_all_output_is_written_before_the_answer(self):
        program = self.function(
            "import sys\ndef handler(event, context):\n"
            "    print('line'); print('no line end', end=''); sys.stderr.write('error'); context.log('logged')"
        )
        program.invoke({})
        self.assertEqual(program.stdout(), "line\nno line endlogged")
        self.assertEqual(program.stderr(), "error")

    def test_a_line_is_written_even_if_the_function_crashes(self):
        program = self.function("import os\ndef handler(*_): print('last words'); os.abort()")
        self.assertRaises(Gone, program.invoke, {})
        self.assertEqual(program.exit_status(), -6)
        self.assertEqual(program.stdout(), "last words\n")

    def test_logging_has_level_time_and_request(self):
        program = self.function(
            "import logging\nlogging.warning('import')\ndef handler(event, context):\n"
            "    logging.info('unseen'); logging.getLogger('a.b').error('x=%d', 5)\n"
            "    logging.getLogger().setLevel('INFO'); logging.info('seen')"
        )
        program.invoke({})
        lines = [line.split("\t") for line in program.stdout().splitlines()]
        expected = [("[WARNING]", "", "import"), ("[ERROR]", REQUEST_ID, "x=5"), ("[INFO]", REQUEST_ID, "seen")]
        self.assertEqual([(level, request, message) for level, _, request, message in lines], expected)
        for line in lines:
            self.assertRegex(line[1], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_the_level_can_come_from_the_environment(self):
        for level in ("DEBUG", "TRACE", "debug"):
            program = self.function(
                "import logging\ndef handler(*_): logging.debug('seen')", environment={"AWS_LAMBDA_LOG_LEVEL": level}
            )
            program.invoke({})
            self.assertTrue(program.stdout().endswith("\tseen\n"), program.stdout())

    def test_an_exception_is_logged_with_its_frames(self):
        program = self.function("def handler(event, context):\n    raise ValueError('no')\n")
        program.error({})
        self.assertEqual(
            program.stdout(),
            "[ERROR] ValueError: no\nTraceback (most recent call last):\n"
            f'\u00a0\u00a0File "{program.task_root}/app.py", line 2, in handler\n'
            "\u00a0\u00a0\u00a0\u00a0raise ValueError('no')\n",
        )

    def test_closed_streams_are_the_functions_own_business(self):
        program = self.function(
            "import sys\ndef handler(*_):\n  sys.stderr.close()\n  sys.stdout = None\n  return 1"
        )
        self.assertEqual([program.invoke({}) for _ in range(2)], [1, 1])

    def test_json(self):
        program = self.function(
            "import logging\nlogging.warning('import')\ndef handler(event, context):\n"
            "    logging.error({'an': 'object', 'of': object})\n"
            "    logging.getLogger('a.b').warning('x=%d', 5, extra={'order': 7, 'level': 'mine'})\n"
            "    try: {}['no']\n"
            "    except KeyError: logging.exception('caught')\n"
            "    raise ValueError('é')\n",
            environment={"AWS_LAMBDA_LOG_FORMAT": "json"},
        )
        program.error({}, tenant_id="t")
        records = [json.loads(line) for line in program.stdout().splitlines()]
        for record in records:
            self.assertRegex(record.pop("timestamp"), r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$")
        of_request = {"requestId": REQUEST_ID, "tenantId": "t"}
        caught = records.pop(3)
        self.assertEqual(
            records,
            [
                {"level": "WARNING", "message": "import", "logger": "root", "requestId": ""},
                {"level": "ERROR", "message": {"an": "object", "of": "<class 'object'>"}, "logger": "root", **of_request},
                {"level": "WARNING", "message": "x=5", "logger": "a.b", **of_request, "order": 7},
                {
                    "level": "ERROR",
                    "errorMessage": "é",
                    "errorType": "ValueError",
                    "requestId": REQUEST_ID,
                    "stackTrace": [f'  File "{program.task_root}/app.py", line 8, in handler\n    raise ValueError(\'é\')\n'],
                },
            ],
        )
        self.assertIn("{}['no']", "".join(caught.pop("stackTrace")))
        self.assertEqual(
            caught,
            {
                "level": "ERROR",
                "message": "caught",
                "logger": "root",
                "errorType": "KeyError",
                "errorMessage": "'no'",
                "location": f"{program.task_root}/app.py:handler:7",
                **of_request,
            },
        )
        self.assertIn('"é"', program.stdout())
