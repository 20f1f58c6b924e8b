//! A handler in a process of its own: reads events as lines, writes answers as lines.

use std::{
    fs,
    io::{self, BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, ChildStdout, Command, Stdio},
};

use super::{Interpreter, Unavailable};

/// Imports the handler and serves. Without what `site` does, which no handler here needs: to the advantage of the process.
pub(super) const SERVE: &str = "\
import sys, json
sys.path.insert(0, sys.argv[1])
import handler
for line in sys.stdin:
    print(json.dumps(handler.handler(json.loads(line), None)), flush=True)
";

/// A process that has been started with [`SERVE`], in whatever way. Ended when dropped.
pub struct Served {
    pub(super) child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
}

impl Served {
    /// Starts it with its input and output here.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(command: &mut Command) -> io::Result<Served> {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
        let (Some(stdin), Some(stdout)) = (child.stdin.take(), child.stdout.take()) else {
            return Err(io::Error::other("a process without pipes"));
        };
        Ok(Served { child, stdin, stdout: BufReader::new(stdout) })
    }

    /// An event, and its answer.
    ///
    /// # Errors
    /// If the process has ended.
    pub fn ask(&mut self, event: &str) -> io::Result<String> {
        writeln!(self.stdin, "{event}")?;
        let mut answer = String::new();
        if self.stdout.read_line(&mut answer)? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.truncate(answer.trim_end().len());
        Ok(answer)
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A handler that processes can be started for, as long as this is there.
pub struct Process {
    interpreter: Interpreter,
    folder: tempfile::TempDir,
}

impl Process {
    /// Puts the handler where processes find it.
    ///
    /// # Errors
    /// If there is no interpreter.
    pub fn new(handler: &str) -> Result<Process, Unavailable> {
        let interpreter = Interpreter::find()?;
        let folder = tempfile::tempdir().and_then(|folder| {
            fs::write(folder.path().join("handler.py"), handler)?;
            Ok(folder)
        });
        let folder =
            folder.map_err(|error| Unavailable::new(error.to_string(), "Make room in the temporary folder"))?;
        Ok(Process { interpreter, folder })
    }

    /// Starts one.
    ///
    /// # Errors
    /// If it cannot be started.
    pub fn start(&self) -> io::Result<Served> {
        Served::start(Command::new(&self.interpreter.program).args(["-S", "-E", "-c", SERVE]).arg(self.folder.path()))
    }

    pub(super) fn interpreter(&self) -> &Interpreter {
        &self.interpreter
    }

    pub(super) fn folder(&self) -> &Path {
        self.folder.path()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_answers_events() {
        let handler =
            "calls = 0\ndef handler(event, context):\n    global calls\n    calls += 1\n    return [calls, event]\n";
        let handler = Process::new(handler).unwrap();
        let mut process = handler.start().unwrap();
        assert_eq!(process.ask("{\"a\": 1}").unwrap(), "[1, {\"a\": 1}]");
        assert_eq!(process.ask("2").unwrap(), "[2, 2]");
        assert_eq!(process.ask("no JSON").unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }
}
