//! The `mayfly` program, built with the benches so that they can find it.

fn main() -> std::process::ExitCode {
    mayfly_gateway::cli::main()
}
