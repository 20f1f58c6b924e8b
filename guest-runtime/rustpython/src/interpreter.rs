//! RustPython with its settings and frozen modules.

use rustpython_vm::{Interpreter, Settings, common::rc::PyRc, frozen::FrozenLib, py_freeze};

/// `guest-runtime/python/`, compiled.
const FROZEN_RUNTIME: &FrozenLib = py_freeze!(dir = "../../python", crate_name = "rustpython_vm");

/// What the standard library believes it was loaded from. Nothing is there: it is frozen.
const STDLIB_PATH: &str = "/var/lang/lib/python3.14";

/// Builds an interpreter. It is not entered yet.
pub(crate) fn start() -> Interpreter {
    let builder = Interpreter::builder(settings());
    let native_modules = rustpython_stdlib::stdlib_module_defs(&builder.ctx);
    builder
        .add_native_modules(&native_modules)
        .add_frozen_modules(rustpython_pylib::FROZEN_STDLIB)
        .add_frozen_modules(FROZEN_RUNTIME)
        .init_hook(|vm| {
            let state = PyRc::get_mut(&mut vm.state).expect("no thread was started yet");
            let paths = &mut state.config.paths;
            paths.stdlib_dir = Some(STDLIB_PATH.to_owned());
            paths.module_search_paths.clear();
        })
        .build()
}

fn settings() -> Settings {
    let mut settings = Settings::default();
    // Nothing of the process environment is meant for Python before INIT brings the function's own.
    settings.ignore_environment = true;
    settings.isolated = true;
    settings.user_site_directory = false;
    // The kernel delivers no signals.
    settings.install_signal_handlers = false;
    // Code is read-only where it comes from; do not try to cache it there.
    settings.write_bytecode = false;
    // Fixed: all clones of a snapshot would share a random seed too, and what an attacker can learn from one machine
    // about the order of its own sets is of no use against another invocation's.
    settings.hash_seed = Some(0);
    settings.stdio_encoding = Some("utf-8".to_owned());
    settings.stdio_errors = Some("surrogateescape".to_owned());
    settings.argv = vec![String::new()];
    settings
}
