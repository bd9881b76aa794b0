//! Made-up secrets. None is, or ever was, anybody's.

/// AWS's own documentation example.
pub const AWS: &str = concat!("AKIA", "IOSFODNN7EXAMPLE");

/// GitHub's shape.
pub const GITHUB: &str = concat!("ghp_", "0123456789abcdefghijklmnopqrstuvwxyz");

/// Anthropic's shape.
pub const ANTHROPIC: &str =
    concat!("sk-ant-api03-", "made_up-key_0123456789abcdefghijklmnopqrstuvwxyz-ABCDEFGHAA");

/// A PEM block: newlines, plus signs and slashes have to survive every nesting.
pub const PEM: &str = concat!(
    "-----BEGIN PRIVATE",
    " KEY-----\n",
    "MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgbm90/2Ega2V5IGF0\n",
    "IGFsbCwganVzdCBieXRlcyB0aGF0IGxvb2sgbGlrZSBvbmU+oRIEEG5vdCBhIGtl\n",
    "-----END PRIVATE",
    " KEY-----"
);

/// A line of [`PEM`] that real keys do not hold.
pub const PEM_LINE: &str = "IGFsbCwganVzdCBieXRlcyB0aGF0IGxvb2sgbGlrZSBvbmU+oRIEEG5vdCBhIGtl";

/// All of them.
pub const ALL: [&str; 4] = [AWS, GITHUB, ANTHROPIC, PEM];
