//! `issued.log` and `signed.log`: one line for everything the signer ever put its name to.

use std::collections::VecDeque;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Seek, Write};

use crate::vault::{Vault, VaultError};

/// An append-only file of lines.
#[derive(Debug)]
pub struct Journal {
    file: File,
}

impl Journal {
    /// Opens the journal `name`, and cuts off a last line that a crash left unfinished: nothing
    /// was answered for it.
    ///
    /// # Errors
    ///
    /// When the file is not the signer's alone, or the system refuses.
    pub fn open(vault: &Vault, name: &str) -> Result<Self, VaultError> {
        let mut file = vault.hold(name, OpenOptions::new().read(true).append(true))?;
        cut_torn_line(&mut file).map_err(|error| VaultError::Io(vault.path(name), error))?;
        Ok(Self { file })
    }

    #[cfg(test)]
    pub(crate) fn to(file: File) -> Self {
        Self { file }
    }

    /// Its last lines, `most` at the most.
    ///
    /// # Errors
    ///
    /// What the system said, or that a line is no text.
    pub fn last_lines(&mut self, most: usize) -> io::Result<VecDeque<String>> {
        self.file.rewind()?;
        let mut last = VecDeque::new();
        for line in BufReader::new(&self.file).lines() {
            last.push_back(line?);
            if last.len() > most {
                last.pop_front();
            }
        }
        Ok(last)
    }

    /// Appends `line`, which holds no line feed, and returns once it is on the disk.
    ///
    /// # Errors
    ///
    /// What the system said. The file may then end in part of the line, so nothing further may be
    /// appended by this process.
    pub fn append(&mut self, line: &str) -> io::Result<()> {
        self.file.write_all(format!("{line}\n").as_bytes())?;
        self.file.sync_data()
    }
}

fn cut_torn_line(file: &mut File) -> io::Result<()> {
    let mut whole = 0;
    let mut seen = 0;
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let chunk = match file.read(&mut buffer)? {
            0 => break,
            length => &buffer[..length],
        };
        if let Some(end) = chunk.iter().rposition(|&byte| byte == b'\n') {
            whole = seen + end as u64 + 1;
        }
        seen += chunk.len() as u64;
    }
    if whole < seen {
        file.set_len(whole)?;
        file.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::vault::{LOG_MODE, NewFile};

    #[test]
    fn a_torn_last_line_is_cut_and_whole_lines_stay() {
        let home = tempfile::tempdir().unwrap();
        let vault = Vault::open_or_create(&home.path().join("state")).unwrap();
        let path = vault.path("log");
        vault.commit(&[NewFile { name: "log", mode: LOG_MODE, bytes: Vec::new().into() }]).unwrap();
        for (found, left) in [("", ""), ("tor", ""), ("one\n", "one\n"), ("one\ntor", "one\n")] {
            fs::write(&path, found).unwrap();
            let mut journal = Journal::open(&vault, "log").unwrap();
            journal.append("next").unwrap();
            assert_eq!(fs::read_to_string(&path).unwrap(), format!("{left}next\n"), "{found:?}");
        }
    }
}
