//! `waterwall-ctl`: starts, asks and checks Waterwall.

use std::process::ExitCode;

fn main() -> ExitCode {
    ctl::run(std::env::args_os())
}
