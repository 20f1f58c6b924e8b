//! The `mayfly` program. All of it is in the library, where tests reach it.

fn main() -> std::process::ExitCode {
    mayfly_gateway::cli::main()
}
