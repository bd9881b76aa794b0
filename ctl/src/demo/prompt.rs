//! What the agent has to say: made-up secrets in an ordinary sentence.

use crate::fault::Fault;
use crate::output::Paint;

/// A prompt with three secrets of different shapes, new in each run.
#[derive(Debug, Clone)]
pub(super) struct Prompt {
    secrets: [String; 3],
}

impl Prompt {
    pub(super) fn draw() -> Result<Self, Fault> {
        let mut random = [0; 36];
        getrandom::fill(&mut random).map_err(|error| Fault::system("draw random bytes", error))?;
        let letters: String = random
            .iter()
            .map(|byte| char::from(ALPHABET[usize::from(*byte) % ALPHABET.len()]))
            .collect();
        let key = rcgen::KeyPair::generate()
            .map_err(|error| Fault::system("make a key for the prompt", error))?;
        Ok(Self {
            secrets: [
                // The example of AWS's own documentation.
                concat!("AKIA", "IOSFODNN7EXAMPLE").to_owned(),
                format!("ghp_{letters}"),
                key.serialize_pem().trim_end().to_owned(),
            ],
        })
    }

    /// The prompt itself.
    pub(super) fn text(&self) -> String {
        let [aws, github, pem] = &self.secrets;
        format!("Deploy it as {aws}, push with {github}, and sign with\n{pem}\nThank you.")
    }

    /// Whether `bytes` hold a secret, or one line of the key. No line of one needs JSON escapes, so
    /// every nesting of JSON is covered.
    pub(super) fn leaks_into(&self, bytes: &[u8]) -> bool {
        self.secrets
            .iter()
            .flat_map(|secret| secret.lines())
            .filter(|line| !line.starts_with("-----"))
            .any(|line| bytes.windows(line.len()).any(|at| at == line.as_bytes()))
    }

    /// `text` for the eye: secrets in red, placeholders in green, key material shortened.
    pub(super) fn show(&self, text: &str, paint: Paint) -> String {
        let mut shown = text.to_owned();
        for secret in &self.secrets {
            shown = shown.replace(secret, &paint.bad(&shorten(secret)));
        }
        paint_placeholders(&shown, paint).replace('\n', "\n     ")
    }
}

/// The first and last line of a block, and how much is between them.
fn shorten(secret: &str) -> String {
    let lines: Vec<&str> = secret.lines().collect();
    match lines.as_slice() {
        [first, between @ .., last] if !between.is_empty() => {
            format!("{first} … {} more lines … {last}", between.len())
        }
        _ => secret.to_owned(),
    }
}

fn paint_placeholders(text: &str, paint: Paint) -> String {
    let mut shown = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(PLACEHOLDER) {
        let Some(length) = rest[start..].find('>') else { break };
        let end = start + length + 1;
        shown.push_str(&rest[..start]);
        shown.push_str(&paint.good(&rest[start..end]));
        rest = &rest[end..];
    }
    shown + rest
}

/// How a placeholder begins.
pub(super) const PLACEHOLDER: &str = "<pl:";
const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_leak_is_found_in_every_nesting() {
        let prompt = Prompt::draw().unwrap();
        for secret in &prompt.secrets {
            let once = serde_json::json!({ "text": secret }).to_string();
            let twice = serde_json::json!({ "arguments": once }).to_string();
            for text in [secret, &once, &twice] {
                assert!(prompt.leaks_into(text.as_bytes()), "{text}");
            }
        }
        assert!(!prompt.leaks_into(b"Deploy it as <pl:AWS_ACCESS_KEY:0011223344556677>"));
    }

    #[test]
    fn each_run_draws_other_secrets() {
        let (a, b) = (Prompt::draw().unwrap(), Prompt::draw().unwrap());
        assert_ne!(a.secrets[1], b.secrets[1]);
        assert_ne!(a.secrets[2], b.secrets[2]);
    }
}
