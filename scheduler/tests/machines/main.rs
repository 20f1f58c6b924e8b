//! Functions in real virtual machines. Needs `/dev/kvm`; where there is none, it says so.
//!
//! The program starts itself as the zygote, so it brings its own `main`: `cargo test --test machines -- [name…]`.

mod behaviour;
mod callers;
mod canaries;
mod cpython;
mod shares;
mod survival;

use std::{
    future::Future,
    path::{Path, PathBuf},
    pin::Pin,
    process::ExitCode,
    time::{Duration, Instant},
};

use mayfly_scheduler::{Platform, Settings, ZYGOTE_ARGUMENT};

/// With a platform that all of them share.
type Test = fn(Platform) -> Pin<Box<dyn Future<Output = ()> + Send>>;
/// With a data directory in which the others have been.
type RestartTest = fn(Settings) -> Pin<Box<dyn Future<Output = ()> + Send>>;

macro_rules! tests {
    ($($place:ident::$name:ident),+ $(,)?) => { &[$((stringify!($name), |given| Box::pin($place::$name(given)))),+] };
}

const TESTS: &[(&str, Test)] = tests![
    behaviour::a_handler_answers,
    behaviour::state_is_kept_or_put_back,
    behaviour::clones_differ,
    behaviour::errors_are_as_on_lambda,
    behaviour::ends_are_as_on_lambda,
    behaviour::a_timeout_ends_the_instance,
    behaviour::many_at_once,
    behaviour::an_update_replaces_what_serves,
    behaviour::what_it_costs,
    shares::a_function_has_its_share,
    survival::idle_machines_may_be_killed,
    survival::running_machines_may_be_killed,
    survival::the_zygote_may_be_killed,
];

const RESTART_TESTS: &[(&str, RestartTest)] = tests![
    survival::a_restart_loads_what_is_there,
    survival::what_was_acknowledged_survives_a_kill,
    shares::machines_are_held_to_processors,
    canaries::nothing_is_left_for_the_next,
    cpython::functions_run_on_the_hosts_interpreter,
    cpython::what_is_not_there_says_so,
    cpython::a_package_takes_no_memory_of_the_instance,
    cpython::errors_of_the_hosts_interpreter_are_as_on_lambda,
    cpython::an_interpreter_that_is_not_there_is_refused,
];

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.first().is_some_and(|argument| argument == ZYGOTE_ARGUMENT) {
        return mayfly_scheduler::zygote_main();
    }
    if !Path::new("/dev/kvm").exists() {
        println!("SKIPPED: there is no /dev/kvm, so nothing of this was tested");
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    if let [survival::VICTIM, data_dir] = arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        runtime.block_on(survival::victim(settings(data_dir.into())));
    }
    let names: Vec<String> = arguments.into_iter().filter(|argument| !argument.starts_with('-')).collect();
    runtime.block_on(run(&names))
}

fn settings(data_dir: PathBuf) -> Settings {
    Settings {
        data_dir,
        shells: 2,
        account_concurrency: 200,
        python: None,
        instances_per_function_max: 8,
        ..Settings::default()
    }
}

async fn run(names: &[String]) -> ExitCode {
    let wanted = |name: &str| names.is_empty() || names.iter().any(|wanted| name.contains(wanted));
    let directory = tempfile::tempdir().expect("a directory");
    let settings = settings(directory.path().into());
    let platform = Platform::open(settings.clone()).await.expect("it opens");
    let start = Instant::now();
    callers::wait_until_ready(&platform).await;
    println!("the runtime came up in {:.2} s", start.elapsed().as_secs_f32());
    let mut failed = 0;
    for (name, test) in TESTS.iter().filter(|(name, _)| wanted(name)) {
        failed += usize::from(!passes(name, test(platform.clone())).await);
    }
    platform.shutdown(Duration::from_secs(5)).await;
    drop(platform);
    for (name, test) in RESTART_TESTS.iter().filter(|(name, _)| wanted(name)) {
        failed += usize::from(!passes(name, test(settings.clone())).await);
    }
    println!("{failed} failed");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

async fn passes(name: &str, test: impl Future<Output = ()> + Send + 'static) -> bool {
    let start = Instant::now();
    let passed = tokio::spawn(test).await.is_ok();
    println!("test {name} ... {} ({:.2} s)", if passed { "ok" } else { "FAILED" }, start.elapsed().as_secs_f32());
    passed
}
