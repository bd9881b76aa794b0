//! The executables under test, built once.

use std::path::PathBuf;
use std::process::Command;
use std::sync::LazyLock;

/// `cargo test` builds no other package's executables, so the first story does.
static FOLDER: LazyLock<PathBuf> = LazyLock::new(|| {
    let folder = std::env::current_exe()
        .ok()
        .and_then(|exe| exe.parent()?.parent().map(PathBuf::from))
        .expect("test executables live in target/PROFILE/deps");
    let mut build = Command::new(env!("CARGO"));
    build.args(["build", "--quiet", "--locked", "--bins"]);
    for package in ["waterwall-ctl", "waterwall-proxy", "waterwall-signer", "waterwall-auditd"] {
        build.args(["--package", package]);
    }
    if !cfg!(debug_assertions) {
        build.arg("--release");
    }
    build.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/.."));
    let target = folder.parent().expect("target/PROFILE has a parent");
    build.arg("--target-dir").arg(target);
    assert!(build.status().expect("cargo runs").success(), "the executables do not build");
    folder
});

/// The path of the executable `name`.
pub fn executable(name: &str) -> PathBuf {
    FOLDER.join(name)
}
