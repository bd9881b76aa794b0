//! `waterwall-proxy`: see [`proxy::run`].

fn main() -> std::process::ExitCode {
    proxy::run(std::env::args_os())
}
