//! Whatever the published expressions match, ours cover, wherever it stands.

use proptest::prelude::*;
use proptest::string::string_regex;

use super::*;

/// The published set, as published but for its word boundaries.
const PUBLISHED: &[(&str, &str)] = &[
    ("ANTHROPIC_KEY", "sk-ant-api03-[A-Za-z0-9_-]{40,120}"),
    ("ANTHROPIC_OAUTH_TOKEN", "sk-ant-oat01-[A-Za-z0-9_-]{80,130}"),
    ("OPENAI_KEY", "sk-(?:proj|svcacct|admin)-[A-Za-z0-9_-]{40,170}"),
    ("AWS_ACCESS_KEY", "(?:AKIA|ASIA)[A-Z0-9]{16}"),
    ("GITHUB_TOKEN", "gh[pousr]_[A-Za-z0-9]{36,90}"),
    ("CLOUDFLARE_API_TOKEN", "cf(?:k|wt|ut|s)_[A-Za-z0-9]{32,48}"),
    ("SUPABASE_SECRET_KEY", "sb_secret_[A-Za-z0-9_-]{20,50}"),
    ("GROQ_KEY", "gsk_[A-Za-z0-9]{48,52}"),
    ("VERCEL_TOKEN", "vrcl_[A-Za-z0-9]{24,60}"),
    ("JWT_TOKEN", r"eyJ[A-Za-z0-9_-]{10,60}\.[A-Za-z0-9_-]{1,90}\.[A-Za-z0-9_-]{1,60}"),
    ("TWILIO_ACCOUNT_SID", "AC[a-f0-9]{32}"),
    ("TWILIO_API_KEY", "SK[a-f0-9]{32}"),
    ("SENDGRID_KEY", r"SG\.[A-Za-z0-9_-]{22,30}\.[A-Za-z0-9_-]{43,60}"),
    ("LINEAR_API_KEY", "lin_api_[A-Za-z0-9]{30,60}"),
    ("NOTION_TOKEN", "ntn_[A-Za-z0-9_-]{30,60}"),
    ("ATLASSIAN_TOKEN", r"ATATT3[A-Za-z0-9_=\-]{30,200}"),
    ("HUGGINGFACE_TOKEN", "hf_[a-zA-Z]{34}"),
    ("PERPLEXITY_KEY", "pplx-[a-zA-Z0-9]{48}"),
    ("DROPBOX_KEY", "dpf_[A-Za-z0-9]{40,80}"),
    ("TURSO_KEY", "tfp_[A-Za-z0-9]{40,80}"),
    ("GOOGLE_AI_KEY", "AIza[A-Za-z0-9_-]{35}"),
    ("OPENROUTER_KEY", "sk-or-v1-[a-f0-9]{64}"),
    ("DISCORD_BOT_TOKEN", r"M[A-Za-z0-9_-]{23,27}\.[A-Za-z0-9_-]{6,7}\.[A-Za-z0-9_-]{27,38}"),
    ("TELEGRAM_BOT_TOKEN", "[0-9]{8,10}:[A-Za-z0-9_-]{35}"),
    ("ELEVENLABS_KEY", "sk_[a-f0-9]{48}"),
    ("JINA_KEY", "jina_[A-Za-z0-9_-]{40,80}"),
    ("BRAVE_SEARCH_KEY", "BSA[A-Za-z0-9_-]{28}"),
    ("CLICKUP_TOKEN", "pk_[0-9]{1,12}_[A-Z0-9]{32}"),
    ("AGE_SECRET_KEY", "AGE-SECRET-KEY-1[AC-HJ-NP-Z02-9]{58}|age-secret-key-1[ac-hj-np-z02-9]{58}"),
    ("VAULT_TOKEN", r"hv[sbr]\.[A-Za-z0-9_-]{24,120}|s\.[A-Za-z0-9]{24}"),
    (
        "PEM_BLOCK",
        "-----BEGIN OPENSSH PRIVATE KEY-----[ -,.-~\n\t]{0,400}-----END OPENSSH PRIVATE KEY-----",
    ),
    ("PEM_BLOCK", "-----BEGIN PRIVATE KEY-----[ -,.-~\n\t]{0,400}-----END PRIVATE KEY-----"),
    (
        "PEM_BLOCK",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----[A-Za-z0-9+/=\n]{0,400}-----END PGP PRIVATE KEY BLOCK-----",
    ),
];

fn anywhere() -> impl Strategy<Value = (&'static str, &'static str)> {
    (prop::sample::select(catalogue::BEFORE), prop::sample::select(catalogue::BEHIND))
}

/// Whether one placeholder, and nothing else, stands between `before` and `behind`.
fn is_covered(text: &str, before: &str, behind: &str) -> bool {
    text.strip_prefix(before).and_then(|rest| rest.strip_suffix(behind)).is_some_and(|middle| {
        middle.starts_with("<pl:") && middle.find('>') == Some(middle.len() - 1)
    })
}

/// Asks of every published type what `holds` of its texts in any surroundings.
fn of_every_type(holds: impl Fn(&str, &str, &str) -> bool) {
    let cases =
        ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() };
    for (kind, expression) in PUBLISHED {
        let tokens = string_regex(expression).unwrap();
        let mut runner = proptest::test_runner::TestRunner::new(cases.clone());
        let outcome = runner.run(&(tokens, anywhere()), |(token, (before, behind))| {
            prop_assert!(holds(&token, before, behind), "{kind}: {before:?} {token:?} {behind:?}");
            Ok(())
        });
        outcome.unwrap_or_else(|error| panic!("{error}"));
    }
}

#[test]
fn what_the_published_set_matches_is_covered_in_plain_text() {
    of_every_type(|token, before, behind| {
        is_covered(&plain(&format!("{before}{token}{behind}")), before, behind)
    });
}

#[test]
fn what_the_published_set_matches_is_covered_in_strings_and_in_json_within_strings() {
    of_every_type(|token, before, behind| {
        let mut body = serde_json::json!({ "text": format!("{before}{token}{behind}") });
        for _ in 0..2 {
            let sent: serde_json::Value = serde_json::from_str(&json(&body.to_string())).unwrap();
            let mut text = sent["text"].as_str().unwrap().to_owned();
            while let Ok(inner) = serde_json::from_str::<serde_json::Value>(&text) {
                let Some(inner) = inner["text"].as_str() else { break };
                text = inner.to_owned();
            }
            if !is_covered(&text, before, behind) {
                return false;
            }
            body = serde_json::json!({ "text": body.to_string() });
        }
        true
    });
}
