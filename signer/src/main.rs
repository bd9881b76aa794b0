//! See the library.

fn main() -> std::process::ExitCode {
    signer::run(std::env::args_os())
}
