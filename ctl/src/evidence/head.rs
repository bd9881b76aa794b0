//! `head`: the newest checkpoint, to be kept where nobody of this host can reach it.

use protocol::evidence::hex;
use protocol::evidence::note::Signed;
use serde_json::json;

use super::log::Log;
use crate::cli::Head;
use crate::fault::{DONE, Fault, Kind};
use crate::home::Home;
use crate::output::Output;
use crate::verify::{folder_of, named};

/// `head`. What it prints is what `--anchor` takes.
pub(crate) fn head(home: &Home, out: Output, asked: &Head) -> Result<u8, Fault> {
    let own = asked.log.is_none();
    let log = Log::open(&asked.log.as_ref().map_or_else(|| home.log(), |log| folder_of(log)))?;
    let head = log.head()?;
    let tree = &head.checkpoint;
    // Of the own log, a note that the own key did not sign is worth nothing to keep.
    let key = asked.pubkey.clone().or_else(|| own.then(|| home.log_key()));
    if let Some(path) = &key {
        let key = named(path, &tree.origin)?;
        if head.note.signed_by(&key) != Signed::Valid {
            let what = format!("head.note is not signed by the key in {}", path.display());
            return Err(Fault::new(Kind::Refused, what, "check the log with `verify-chain`"));
        }
    }
    let value = json!({
        "origin": tree.origin,
        "tree_size": tree.size,
        "root": hex::encode(&tree.root),
        "signature_checked": key.is_some(),
        "note": head.note.to_string(),
    });
    out.result(&value, |_| head.note.to_string());
    Ok(DONE)
}
