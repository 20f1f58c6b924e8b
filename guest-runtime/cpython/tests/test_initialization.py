"""Finding the handler, and every way not to."""

from driver import Gone, TestCase, error_of, frame


class Initialization(TestCase):
    def check_fault(self, files, handler, error_type, message):
        program = self.start(files)
        expected = {"errorType": error_type, "errorMessage": message, "requestId": "", "stackTrace": []}
        self.assertEqual(error_of(program.init, handler), expected)
        self.assertEqual(program.error({}), expected, "an invocation has nothing else to say")

    def test_a_module_that_is_not_there(self):
        message = "Unable to import module 'app': No module named 'app'"
        self.check_fault({}, "app.handler", "Runtime.ImportModuleError", message)

    def test_a_module_that_imports_what_is_not_there(self):
        message = "Unable to import module 'app': No module named 'not_there'"
        self.check_fault({"app.py": "import not_there"}, "app.handler", "Runtime.ImportModuleError", message)

    def test_a_handler_that_is_not_there(self):
        message = "Handler 'handler' missing on module 'app'"
        self.check_fault({"app.py": ""}, "app.handler", "Runtime.HandlerNotFound", message)

    def test_a_handler_without_a_module(self):
        message = "Bad handler 'handler': not enough values to unpack (expected 2, got 1)"
        self.check_fault({"app.py": ""}, "handler", "Runtime.MalformedHandlerName", message)

    def test_a_module_named_as_a_builtin_one(self):
        message = "Cannot use built-in module sys as a handler module"
        self.check_fault({"sys.py": ""}, "sys.handler", "Runtime.BuiltInModuleConflict", message)

    def test_a_syntax_error(self):
        program = self.start({"app.py": "x = 1\ndef handler(event, context) return 1\n"})
        error = error_of(program.init)
        self.assertEqual(error["errorType"], "Runtime.UserCodeSyntaxError")
        self.assertRegex(error["errorMessage"], r"^Syntax error in module 'app': .*\(app.py, line 2\)$")
        path = program.task_root / "app.py"
        self.assertEqual(
            error["stackTrace"], [f'  File "{path}" Line 2\n    def handler(event, context) return 1\n']
        )

    def test_an_exception_while_importing_keeps_its_class(self):
        program = self.start({"app.py": "def f():\n    raise ValueError('no')\nf()\n"})
        expected = {
            "errorType": "ValueError",
            "errorMessage": "no",
            "requestId": "",
            "stackTrace": [
                frame(program, 3, "<module>", "f()"),
                frame(program, 2, "f", "raise ValueError('no')"),
            ],
        }
        self.assertEqual(error_of(program.init), expected)
        self.assertEqual(program.error({}), expected)

    def test_an_exit_while_importing_is_the_programs(self):
        program = self.start({"app.py": "import sys; sys.exit(5)"})
        self.assertRaises(Gone, program.init)
        self.assertEqual(program.exit_status(), 5)

    def test_handlers_in_packages(self):
        files = {
            "pkg/__init__.py": "",
            "pkg/inner.py": "from . import other\ndef handler(event, context): return other.VALUE",
            "pkg/other.py": "VALUE = 5",
        }
        for handler in ("pkg.inner.handler", "pkg/inner.handler"):
            program = self.start(files)
            program.init(handler)
            self.assertEqual(program.invoke({}), 5)

    def test_the_environment_is_the_functions(self):
        program = self.function(
            "import ctypes, os, sys\nAT_IMPORT = os.environ.get('KEY')\n"
            "getenv = ctypes.CDLL(None).getenv\ngetenv.restype = ctypes.c_char_p\n"
            "def handler(event, context): return [AT_IMPORT, sorted(os.environ), os.getcwd(), sys.path[0], "
            "getenv(b'KEY').decode()]",
            environment={"KEY": "välue"},
        )
        root = str(program.task_root)
        names = ["AWS_LAMBDA_FUNCTION_NAME", "KEY", "LAMBDA_TASK_ROOT", "TZ"]
        self.assertEqual(program.invoke({}), ["välue", names, root, root, "välue"])

    def test_pythonpath_is_searched_before_the_standard_library(self):
        program = self.start({"lib/this.py": "VALUE = 'mine'", "app.py": "import this\ndef handler(*_): return this.VALUE"})
        program.init(environment={"PYTHONPATH": f"/not/there:{program.task_root}/lib"})
        self.assertEqual(program.invoke({}), "mine")

    def test_the_runtimes_modules_hide_none_of_the_functions(self):
        for name in ("bootstrap", "mayfly", "device", "event_loop"):
            program = self.start(
                {f"{name}.py": "VALUE = 1", "app.py": f"import {name}\ndef handler(*_): return {name}.VALUE"}
            )
            program.init()
            self.assertEqual(program.invoke({}), 1, name)

    def test_the_interpreter_is_the_one_asked_for(self):
        program = self.function("import sys\ndef handler(*_): return [sys.flags.utf8_mode, sys.dont_write_bytecode]")
        self.assertEqual(program.invoke({}), [1, True])
