//! What a secret looks like and what has to stand beside it.

use super::further;
use super::published;
use super::random::Random;

/// Which promise a shape falls under.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Group {
    /// Taken by the published set.
    Published,
    /// Everything else that agents meet.
    Further,
}

/// Where a secret of some shape is told from other text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Framing {
    /// By itself.
    Bare,
    /// By the name of what it is assigned to.
    Named(&'static str),
    /// By what stands around it on its line.
    Line,
}

/// A text with a secret in it.
#[derive(Debug, Clone)]
pub(super) struct Secret {
    /// What stands before it.
    pub(super) before: String,
    /// The secret.
    pub(super) secret: String,
    /// What stands behind it.
    pub(super) after: String,
}

impl From<String> for Secret {
    fn from(secret: String) -> Self {
        Self { before: String::new(), secret, after: String::new() }
    }
}

impl Secret {
    /// The same with each part rewritten.
    #[must_use]
    pub(super) fn map(&self, rewrite: impl Fn(&str) -> String) -> Self {
        let [before, secret, after] =
            [&self.before, &self.secret, &self.after].map(|part| rewrite(part));
        Self { before, secret, after }
    }

    /// The same between `before` and `after`.
    #[must_use]
    pub(super) fn within(&self, before: &str, after: &str) -> Self {
        Self {
            before: format!("{before}{}", self.before),
            secret: self.secret.clone(),
            after: format!("{}{after}", self.after),
        }
    }

    /// The whole text.
    #[must_use]
    pub(super) fn text(&self) -> String {
        [&*self.before, &*self.secret, &*self.after].concat()
    }
}

/// Makes one.
pub(super) type Make = fn(&mut Random) -> Secret;

/// One shape of one type.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    /// TYPE in the published set; for others the vendor's own name.
    pub(super) name: &'static str,
    /// Whose shape it is.
    pub(super) source: &'static str,
    /// Which promise it falls under.
    pub(super) group: Group,
    /// How it is told from other text.
    pub(super) framing: Framing,
    /// Makes one.
    pub(super) make: Make,
}

impl Shape {
    pub(super) fn bare(name: &'static str, source: &'static str, group: Group, make: Make) -> Self {
        Self { name, source, group, framing: Framing::Bare, make }
    }

    /// One that ends in `-`, where the published shape has such.
    pub(super) fn ending_in_dash(&self, random: &mut Random) -> Option<Secret> {
        if self.source != "published" || !DASH_ENDED.contains(&self.name) {
            return None;
        }
        let mut secret = (self.make)(random);
        // The older tokens of Vault hold letters and digits only.
        while secret.secret.starts_with("s.") {
            secret = (self.make)(random);
        }
        secret.secret.pop();
        secret.secret.push('-');
        Some(secret)
    }
}

/// Types whose last character is drawn from an alphabet that holds `-`.
const DASH_ENDED: [&str; 14] = [
    "ANTHROPIC_OAUTH_TOKEN",
    "ANTHROPIC_KEY",
    "ATLASSIAN_TOKEN",
    "BRAVE_SEARCH_KEY",
    "DISCORD_BOT_TOKEN",
    "GOOGLE_AI_KEY",
    "JINA_KEY",
    "JWT_TOKEN",
    "NOTION_TOKEN",
    "OPENAI_KEY",
    "SENDGRID_KEY",
    "SUPABASE_SECRET_KEY",
    "TELEGRAM_BOT_TOKEN",
    "VAULT_TOKEN",
];

/// Every shape.
#[must_use]
pub(super) fn shapes() -> Vec<Shape> {
    let mut shapes = published::shapes();
    shapes.extend(further::shapes());
    shapes
}
