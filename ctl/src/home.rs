//! Where an instance's files live: one folder, or the user's XDG folders.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use crate::fault::{Fault, Kind};

/// The folders of one instance. Several may live side by side.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Home {
    /// Set when the instance lives in one folder (`--home`, `WATERWALL_HOME`).
    folder: Option<PathBuf>,
    etc: PathBuf,
    state: PathBuf,
    run: PathBuf,
}

/// A Unix socket in `run/`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Socket {
    Mint,
    Seal,
    Append,
    Control,
    AuditControl,
}

impl Socket {
    pub(crate) const ALL: [Self; 5] =
        [Self::Mint, Self::Seal, Self::Append, Self::Control, Self::AuditControl];

    fn file_name(self) -> &'static str {
        match self {
            Self::Mint => "mint.sock",
            Self::Seal => "seal.sock",
            Self::Append => "append.sock",
            Self::Control => "control.sock",
            Self::AuditControl => "audit.sock",
        }
    }
}

/// What the choice of folders depends on, so that it can be decided without looking.
pub(crate) trait Surroundings {
    /// An environment variable.
    fn variable(&self, name: &str) -> Option<OsString>;
    /// Whether `path` is a folder that belongs to the caller.
    fn is_own_folder(&self, path: &Path) -> bool;
}

/// The process's real environment and file system.
pub(crate) struct Process;

impl Surroundings for Process {
    fn variable(&self, name: &str) -> Option<OsString> {
        std::env::var_os(name)
    }

    fn is_own_folder(&self, path: &Path) -> bool {
        fs::metadata(path)
            .is_ok_and(|found| found.is_dir() && found.uid() == nix::unistd::geteuid().as_raw())
    }
}

impl Home {
    /// The folders that `--home`, `WATERWALL_HOME` or the XDG variables name, in this order.
    pub(crate) fn choose(option: Option<&Path>, around: &dyn Surroundings) -> Result<Self, Fault> {
        let folder = option.map(Path::to_path_buf).or_else(|| {
            around.variable("WATERWALL_HOME").filter(|v| !v.is_empty()).map(Into::into)
        });
        let home = match folder {
            Some(folder) => Self::in_one_folder(&folder)?,
            None => Self::in_xdg_folders(around)?,
        };
        home.fits_socket_names()?;
        Ok(home)
    }

    fn in_one_folder(folder: &Path) -> Result<Self, Fault> {
        let folder =
            std::path::absolute(folder).map_err(|error| Fault::file("use", folder, &error))?;
        Ok(Self {
            etc: folder.join("etc"),
            state: folder.join("state"),
            run: folder.join("run"),
            folder: Some(folder),
        })
    }

    fn in_xdg_folders(around: &dyn Surroundings) -> Result<Self, Fault> {
        // The XDG specification: a relative path is invalid and to be ignored.
        let absolute =
            |name: &str| around.variable(name).map(PathBuf::from).filter(|path| path.is_absolute());
        let under_home = |below: &str| {
            absolute("HOME").map(|home| home.join(below)).ok_or_else(|| {
                Fault::new(
                    Kind::Usage,
                    "HOME is not set, so there is no place for Waterwall's files",
                    "give one with --home DIR or WATERWALL_HOME",
                )
            })
        };
        let or_under_home = |name: &str, below: &str| match absolute(name) {
            Some(path) => Ok(path),
            None => under_home(below),
        };
        let etc = or_under_home("XDG_CONFIG_HOME", ".config")?.join("waterwall");
        let state = or_under_home("XDG_STATE_HOME", ".local/state")?.join("waterwall");
        // After `su` or `sudo` the variable may still name another user's folder.
        let run = absolute("XDG_RUNTIME_DIR")
            .filter(|path| around.is_own_folder(path))
            .map_or_else(|| state.join("run"), |path| path.join("waterwall"));
        Ok(Self { folder: None, etc, state, run })
    }

    fn fits_socket_names(&self) -> Result<(), Fault> {
        let longest = self.run.join(LONGEST_SOCKET).as_os_str().len();
        if longest < SUN_PATH {
            return Ok(());
        }
        let most = SUN_PATH - 2 - LONGEST_SOCKET.len();
        Err(Fault::new(
            Kind::Usage,
            format!(
                "{} is too long: socket names end at {} bytes, which leaves {most} for this folder",
                self.run.display(),
                SUN_PATH - 1
            ),
            "choose a shorter --home, or set XDG_RUNTIME_DIR to a short path",
        ))
    }

    /// Makes the folders that are missing, and refuses folders that others could tamper with.
    pub(crate) fn create(&self) -> Result<(), Fault> {
        if let Some(folder) = &self.folder {
            make_folder(folder, 0o755)?;
        }
        // Agents run as other users and read the certificates here.
        make_folder(&self.etc, 0o755)?;
        for private in [&self.state, &self.signer_state(), &self.log(), &self.run] {
            make_folder(private, 0o700)?;
        }
        for ours in [&self.etc, &self.state, &self.signer_state(), &self.log(), &self.run] {
            refuse_shared(ours)?;
        }
        Ok(())
    }

    /// `--home DIR` as it must be given to reach this instance, or nothing.
    pub(crate) fn option(&self) -> Vec<OsString> {
        self.folder
            .as_ref()
            .map(|folder| vec!["--home".into(), folder.clone().into()])
            .unwrap_or_default()
    }

    /// `waterwall-ctl COMMAND` as a user would type it for this instance.
    pub(crate) fn command(&self, command: &str) -> String {
        match &self.folder {
            Some(folder) => format!("waterwall-ctl --home {} {command}", folder.display()),
            None => format!("waterwall-ctl {command}"),
        }
    }

    pub(crate) fn etc(&self) -> &Path {
        &self.etc
    }

    pub(crate) fn run(&self) -> &Path {
        &self.run
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.etc.join("config.yaml")
    }

    pub(crate) fn hosts(&self) -> PathBuf {
        self.etc.join("permitted_hosts.yaml")
    }

    pub(crate) fn patterns(&self) -> PathBuf {
        self.etc.join("patterns.yaml")
    }

    pub(crate) fn ca(&self) -> PathBuf {
        self.etc.join("ca.pem")
    }

    pub(crate) fn ca_bundle(&self) -> PathBuf {
        self.etc.join("ca-bundle.pem")
    }

    pub(crate) fn log_key(&self) -> PathBuf {
        self.etc.join("signing.pub")
    }

    pub(crate) fn evidence_key(&self) -> PathBuf {
        self.etc.join("evidence.pub")
    }

    pub(crate) fn signer_state(&self) -> PathBuf {
        self.state.join("signer")
    }

    pub(crate) fn log(&self) -> PathBuf {
        self.state.join("log")
    }

    /// What a detached `up` and its daemons write to stderr.
    pub(crate) fn messages(&self) -> PathBuf {
        self.state.join("up.log")
    }

    pub(crate) fn socket(&self, socket: Socket) -> PathBuf {
        self.run.join(socket.file_name())
    }

    pub(crate) fn readiness(&self, name: &str) -> PathBuf {
        self.run.join(format!("{name}.notify"))
    }

    pub(crate) fn admin_token(&self) -> PathBuf {
        self.run.join("admin.token")
    }

    pub(crate) fn sentinel(&self) -> PathBuf {
        self.run.join("kill")
    }

    /// Not in `run/`: `XDG_RUNTIME_DIR` goes away when its user logs out, and whoever lost the lock
    /// with it could neither be found nor stopped.
    pub(crate) fn lock(&self) -> PathBuf {
        self.state.join("up.lock")
    }

    pub(crate) fn supervisor(&self) -> PathBuf {
        self.run.join("supervisor.json")
    }
}

fn make_folder(path: &Path, mode: u32) -> Result<(), Fault> {
    let failed = |error: &io::Error| Fault::file("make the folder", path, error);
    match fs::metadata(path) {
        Ok(found) if found.is_dir() => return Ok(()),
        Ok(_) => {
            let what = format!("{} is not a folder", path.display());
            return Err(Fault::new(Kind::CannotCreate, what, "move that file away"));
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(&error)),
    }
    fs::DirBuilder::new()
        .recursive(true)
        .mode(mode & 0o755)
        .create(path)
        .and_then(|()| fs::set_permissions(path, fs::Permissions::from_mode(mode)))
        .map_err(|error| failed(&error))
}

/// Whoever may write to these folders can replace keys, sockets or rules.
fn refuse_shared(path: &Path) -> Result<(), Fault> {
    let found = fs::metadata(path).map_err(|error| Fault::file("look at", path, &error))?;
    let me = nix::unistd::geteuid().as_raw();
    if found.uid() != me {
        let what = format!("{} belongs to user {}, not to you ({me})", path.display(), found.uid());
        return Err(Fault::new(Kind::NoPermission, what, "use a --home of your own"));
    }
    if found.mode() & 0o022 != 0 {
        let what = format!("{} can be written by other users", path.display());
        let advice = format!("chmod go-w {}", path.display());
        return Err(Fault::new(Kind::NoPermission, what, advice));
    }
    Ok(())
}

/// `sun_path` in unix(7): 108 bytes including the terminating zero.
const SUN_PATH: usize = 108;

/// The longest name that is bound or connected to in `run/` (a detached start waits on it).
const LONGEST_SOCKET: &str = "up-4194304.notify";

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[derive(Default)]
    struct Given {
        variables: HashMap<&'static str, String>,
        own: Vec<PathBuf>,
    }

    impl Given {
        fn new(variables: &[(&'static str, &str)], own: &[&str]) -> Self {
            Self {
                variables: variables.iter().map(|(k, v)| (*k, (*v).to_owned())).collect(),
                own: own.iter().map(PathBuf::from).collect(),
            }
        }
    }

    impl Surroundings for Given {
        fn variable(&self, name: &str) -> Option<OsString> {
            self.variables.get(name).map(Into::into)
        }

        fn is_own_folder(&self, path: &Path) -> bool {
            self.own.iter().any(|own| own == path)
        }
    }

    #[test]
    fn the_option_wins_over_the_variable_and_both_over_xdg() {
        let given = Given::new(&[("WATERWALL_HOME", "/srv/one"), ("HOME", "/home/a")], &[]);
        let by_option = Home::choose(Some(Path::new("/srv/two")), &given).unwrap();
        assert_eq!(by_option.config(), Path::new("/srv/two/etc/config.yaml"));
        let by_variable = Home::choose(None, &given).unwrap();
        assert_eq!(by_variable.signer_state(), Path::new("/srv/one/state/signer"));
        assert_eq!(by_variable.option(), ["--home", "/srv/one"]);
    }

    #[test]
    fn an_empty_home_variable_is_no_home() {
        let given = Given::new(&[("WATERWALL_HOME", ""), ("HOME", "/home/a")], &[]);
        let home = Home::choose(None, &given).unwrap();
        assert_eq!(home.etc(), Path::new("/home/a/.config/waterwall"));
        assert!(home.option().is_empty());
    }

    #[test]
    fn xdg_folders_are_used_where_they_are_absolute() {
        let given = Given::new(
            &[
                ("HOME", "/home/a"),
                ("XDG_CONFIG_HOME", "/conf"),
                ("XDG_STATE_HOME", "relative/ignored"),
                ("XDG_RUNTIME_DIR", "/run/user/7"),
            ],
            &["/run/user/7"],
        );
        let home = Home::choose(None, &given).unwrap();
        assert_eq!(home.etc(), Path::new("/conf/waterwall"));
        assert_eq!(home.log(), Path::new("/home/a/.local/state/waterwall/log"));
        assert_eq!(home.run(), Path::new("/run/user/7/waterwall"));
    }

    #[test]
    fn without_a_runtime_folder_of_its_own_it_lives_under_the_state_folder() {
        let fallback = Path::new("/home/a/.local/state/waterwall/run");
        let missing = Given::new(&[("HOME", "/home/a")], &[]);
        assert_eq!(Home::choose(None, &missing).unwrap().run(), fallback);
        let of_another_user =
            Given::new(&[("HOME", "/home/a"), ("XDG_RUNTIME_DIR", "/run/user/0")], &[]);
        assert_eq!(Home::choose(None, &of_another_user).unwrap().run(), fallback);
    }

    #[test]
    fn says_what_to_do_without_any_home() {
        let fault = Home::choose(None, &Given::default()).unwrap_err();
        assert!(fault.advice.contains("--home"), "{fault:?}");
    }

    #[test]
    fn refuses_a_folder_whose_sockets_could_not_be_bound() {
        let room = SUN_PATH - 1 - LONGEST_SOCKET.len() - "/run/".len();
        let fits = format!("/{}", "a".repeat(room - 1));
        let home = Home::choose(Some(Path::new(&fits)), &Given::default()).unwrap();
        assert_eq!(home.run().join(LONGEST_SOCKET).as_os_str().len(), SUN_PATH - 1);
        let too_long = format!("{fits}a");
        let fault = Home::choose(Some(Path::new(&too_long)), &Given::default()).unwrap_err();
        assert_eq!(fault.kind, Kind::Usage);
        assert!(fault.advice.contains("shorter --home"), "{fault:?}");
    }

    #[test]
    fn no_socket_is_longer_than_the_longest() {
        for socket in Socket::ALL {
            assert!(socket.file_name().len() <= LONGEST_SOCKET.len(), "{socket:?}");
        }
    }

    #[test]
    fn makes_private_folders_private_and_certificates_reachable() {
        let parent = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(&parent.path().join("h")), &Given::default()).unwrap();
        home.create().unwrap();
        home.create().unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
        assert_eq!(mode(home.etc()), 0o755);
        assert_eq!(mode(&home.signer_state()), 0o700);
        assert_eq!(mode(&home.log()), 0o700);
        assert_eq!(mode(home.run()), 0o700);
    }

    #[test]
    fn refuses_a_runtime_folder_that_others_may_write() {
        let parent = tempfile::tempdir().unwrap();
        let home = Home::choose(Some(parent.path()), &Given::default()).unwrap();
        home.create().unwrap();
        fs::set_permissions(home.run(), fs::Permissions::from_mode(0o777)).unwrap();
        let fault = home.create().unwrap_err();
        assert_eq!(fault.kind, Kind::NoPermission);
        assert!(fault.advice.starts_with("chmod go-w"), "{fault:?}");
    }
}
