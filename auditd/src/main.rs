//! The evidence writer's executable.

fn main() -> std::process::ExitCode {
    auditd::run()
}
