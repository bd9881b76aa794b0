//! The 31 types of the published set, twice where the two differ: as its expressions have them, and
//! as the vendors issue them.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::checksum::{aws_id, base62, bech32, crc32, wide_aws_id};
use super::random::{ALNUM, BASE64, DIGITS, HEX, LETTERS, Random, UPPER, URL64};
use super::shape::{Group, Make, Shape};

/// Every shape that the published expressions take.
pub(super) fn shapes() -> Vec<Shape> {
    let published = PUBLISHED.iter().map(|(name, make)| (name, "published", make));
    let vendor = VENDOR.iter().map(|(name, make)| (name, "vendor", make));
    published
        .chain(vendor)
        .map(|(name, source, make)| Shape::bare(name, source, Group::Published, *make))
        .collect()
}

/// As the published expressions take them, from the shortest on.
const PUBLISHED: [(&str, Make); 31] = [
    ("ANTHROPIC_KEY", |r| tagged("sk-ant-api03-", r.some(URL64, 39, 95), r)),
    ("ANTHROPIC_OAUTH_TOKEN", |r| tagged("sk-ant-oat01-", r.some(URL64, 79, 95), r)),
    ("OPENAI_KEY", |r| {
        let prefix = *r.pick(&["sk-proj-", "sk-svcacct-", "sk-admin-"]);
        tagged(prefix, r.some(URL64, 39, 156), r)
    }),
    ("AWS_ACCESS_KEY", |r| format!("{}{}", r.pick(&["AKIA", "ASIA"]), wide_aws_id(r)).into()),
    ("GITHUB_TOKEN", |r| {
        let prefix = *r.pick(&["ghp_", "gho_", "ghu_", "ghs_", "ghr_"]);
        (prefix.to_owned() + &r.some(ALNUM, 36, 76)).into()
    }),
    ("CLOUDFLARE_API_TOKEN", |r| {
        let prefix = *r.pick(&["cfk_", "cfwt_", "cfut_", "cfs_"]);
        (prefix.to_owned() + &r.some(ALNUM, 32, 48)).into()
    }),
    ("SUPABASE_SECRET_KEY", |r| tagged("sb_secret_", r.some(URL64, 19, 40), r)),
    ("GROQ_KEY", |r| ("gsk_".to_owned() + &r.some(ALNUM, 48, 52)).into()),
    ("VERCEL_TOKEN", |r| ("vrcl_".to_owned() + &r.some(ALNUM, 24, 56)).into()),
    ("JWT_TOKEN", |r| {
        let (header, claims) = (r.some(URL64, 10, 60), r.some(URL64, 1, 200));
        tagged("eyJ", format!("{header}.{claims}.{}", r.some(URL64, 1, 342)), r)
    }),
    ("TWILIO_ACCOUNT_SID", |r| ("AC".to_owned() + &r.of(HEX, 32)).into()),
    ("TWILIO_API_KEY", |r| ("SK".to_owned() + &r.of(HEX, 32)).into()),
    ("SENDGRID_KEY", |r| {
        tagged("SG.", format!("{}.{}", r.some(URL64, 22, 30), r.some(URL64, 42, 50)), r)
    }),
    ("LINEAR_API_KEY", |r| ("lin_api_".to_owned() + &r.some(ALNUM, 30, 48)).into()),
    ("NOTION_TOKEN", |r| tagged("ntn_", r.some(URL64, 29, 46), r)),
    ("ATLASSIAN_TOKEN", |r| tagged("ATATT3", r.some(URL64, 29, 190), r)),
    ("HUGGINGFACE_TOKEN", |r| ("hf_".to_owned() + &r.of(LETTERS, 34)).into()),
    ("PERPLEXITY_KEY", |r| ("pplx-".to_owned() + &r.of(ALNUM, 48)).into()),
    ("DROPBOX_KEY", |r| ("dpf_".to_owned() + &r.some(ALNUM, 40, 64)).into()),
    ("TURSO_KEY", |r| ("tfp_".to_owned() + &r.some(ALNUM, 40, 64)).into()),
    ("GOOGLE_AI_KEY", |r| ("AIza".to_owned() + &r.of(URL64, 34) + &r.of(ALNUM, 1)).into()),
    ("OPENROUTER_KEY", |r| ("sk-or-v1-".to_owned() + &r.of(HEX, 64)).into()),
    ("DISCORD_BOT_TOKEN", |r| {
        let parts = [r.some(URL64, 23, 27), r.some(URL64, 6, 7), r.some(URL64, 26, 37)];
        tagged("M", parts.join("."), r)
    }),
    ("TELEGRAM_BOT_TOKEN", |r| {
        let id = digits(8, 10, r);
        tagged("", format!("{id}:{}", r.of(URL64, 34)), r)
    }),
    ("ELEVENLABS_KEY", |r| ("sk_".to_owned() + &r.of(HEX, 48)).into()),
    ("JINA_KEY", |r| tagged("jina_", r.some(URL64, 39, 70), r)),
    ("BRAVE_SEARCH_KEY", |r| tagged("BSA", r.of(URL64, 27), r)),
    ("CLICKUP_TOKEN", |r| format!("pk_{}_{}", digits(1, 12, r), r.of(UPPER, 32)).into()),
    ("AGE_SECRET_KEY", |r| {
        let lower = r.of("qpzry9x8gf2tvdw0s3jn54khce6mua7l", 58);
        let key = format!("age-secret-key-1{lower}");
        (if r.below(2) == 0 { key } else { key.to_uppercase() }).into()
    }),
    ("VAULT_TOKEN", |r| {
        let prefix = *r.pick(&["hvs.", "hvb.", "hvr."]);
        match r.below(3) {
            // One letter or digit among 24 is a digit nearly always; the issued ones hold one.
            0 => ("s.".to_owned() + &r.of(ALNUM, 23) + &r.of(DIGITS, 1)).into(),
            _ => tagged(prefix, r.some(URL64, 23, 120), r),
        }
    }),
    ("PEM_BLOCK", |r| pem(r, true).into()),
];

/// As they are issued, with their checksums, where the published expressions take them.
const VENDOR: [(&str, Make); 23] = [
    ("ANTHROPIC_KEY", |r| format!("sk-ant-api03-{}AA", r.of(URL64, 93)).into()),
    ("ANTHROPIC_OAUTH_TOKEN", |r| format!("sk-ant-oat01-{}AA", r.of(URL64, 93)).into()),
    ("OPENAI_KEY", |r| {
        let prefix = *r.pick(&["sk-proj-", "sk-svcacct-", "sk-admin-"]);
        let half = *r.pick(&[74, 58]);
        format!("{prefix}{}T3BlbkFJ{}", r.of(URL64, half), r.of(URL64, half)).into()
    }),
    ("AWS_ACCESS_KEY", |r| format!("{}{}", r.pick(&["AKIA", "ASIA"]), aws_id(r)).into()),
    ("GITHUB_TOKEN", |r| {
        let prefix = *r.pick(&["ghp_", "gho_", "ghu_", "ghs_"]);
        let body = r.of(ALNUM, 30);
        format!("{prefix}{body}{}", base62(crc32(body.as_bytes()))).into()
    }),
    ("GITHUB_TOKEN", |r| {
        let body = r.of(ALNUM, 70);
        format!("ghr_{body}{}", base62(crc32(body.as_bytes()))).into()
    }),
    ("CLOUDFLARE_API_TOKEN", |r| {
        let (prefix, body) = (*r.pick(&["cfk_", "cfut_"]), r.of(ALNUM, 40));
        format!("{prefix}{body}{:08x}", crc32(body.as_bytes())).into()
    }),
    ("SUPABASE_SECRET_KEY", |r| format!("sb_secret_{}_{}", r.of(ALNUM, 22), r.of(ALNUM, 8)).into()),
    ("GROQ_KEY", |r| format!("gsk_{}WGdyb3FY{}", r.of(ALNUM, 20), r.of(ALNUM, 24)).into()),
    ("JWT_TOKEN", |r| jwt(r).into()),
    ("SENDGRID_KEY", |r| {
        let [id, key] = [16, 32].map(|count| URL_SAFE_NO_PAD.encode(r.bytes(count)));
        format!("SG.{id}.{key}").into()
    }),
    ("LINEAR_API_KEY", |r| ("lin_api_".to_owned() + &r.of(ALNUM, 40)).into()),
    ("NOTION_TOKEN", |r| format!("ntn_{}{}", r.of(DIGITS, 11), r.of(ALNUM, 35)).into()),
    ("ATLASSIAN_TOKEN", |r| {
        let body = format!("ATATT3xFfGF0{}=", r.of(URL64, 171));
        format!("{body}{:08X}", crc32(body.as_bytes())).into()
    }),
    ("GOOGLE_AI_KEY", |r| ("AIzaSy".to_owned() + &r.of(URL64, 32) + &r.of(ALNUM, 1)).into()),
    ("DISCORD_BOT_TOKEN", |r| {
        let id = r.of("123", 1) + &r.some(DIGITS, 17, 18);
        discord(&id, r).into()
    }),
    ("TELEGRAM_BOT_TOKEN", |r| {
        let id = digits(8, 10, r);
        format!("{id}:AA{}{}", r.of(URL64, 32), r.of(ALNUM, 1)).into()
    }),
    ("JINA_KEY", |r| format!("jina_{}{}", r.of(HEX, 32), r.of(ALNUM, 28)).into()),
    ("BRAVE_SEARCH_KEY", |r| ("BSA".to_owned() + &r.of(URL64, 27) + &r.of(ALNUM, 1)).into()),
    ("CLICKUP_TOKEN", |r| format!("pk_{}_{}", digits(7, 9, r), r.of(UPPER, 32)).into()),
    ("AGE_SECRET_KEY", |r| {
        let key = bech32("age-secret-key-", r);
        (if r.below(4) == 0 { key } else { key.to_uppercase() }).into()
    }),
    ("VAULT_TOKEN", |r| match r.below(2) {
        0 => tagged("hvs.CAES", r.some(URL64, 86, 115), r),
        _ => tagged("hvb.AAAAAQ", r.some(URL64, 132, 290), r),
    }),
    ("PEM_BLOCK", |r| pem(r, false).into()),
];

/// `prefix`, `body`, and one more letter or digit: what ends in `-` is another context's business.
fn tagged(prefix: &str, body: String, random: &mut Random) -> super::shape::Secret {
    format!("{prefix}{body}{}", random.of(ALNUM, 1)).into()
}

/// A number of `least` to `most` digits that does not start with 0.
fn digits(least: usize, most: usize, random: &mut Random) -> String {
    random.of("123456789", 1) + &random.some(DIGITS, least - 1, most - 1)
}

/// The token of the bot with `id`.
pub(super) fn discord(id: &str, random: &mut Random) -> String {
    let last = *random.pick(&[26, 37]);
    let id = URL_SAFE_NO_PAD.encode(id);
    format!("{id}.{}.{}{}", random.of(URL64, 6), random.of(URL64, last), random.of(ALNUM, 1))
}

/// A JSON Web Token that decodes.
pub(super) fn jwt(random: &mut Random) -> String {
    let (algorithm, signature) = *random.pick(&[("HS256", 32), ("ES256", 64), ("RS256", 256)]);
    let header = format!(r#"{{"alg":"{algorithm}","typ":"JWT"}}"#);
    let claims = format!(
        r#"{{"sub":"{}","iat":17{},"scope":"read write"}}"#,
        random.of(DIGITS, 10),
        random.of(DIGITS, 8)
    );
    let signature = random.bytes(signature);
    let parts = [header.as_bytes(), claims.as_bytes(), &signature];
    parts.map(|part| URL_SAFE_NO_PAD.encode(part)).join(".")
}

/// A private key block of a kind in the published set.
fn pem(random: &mut Random, any_length: bool) -> String {
    let kind = *random.pick(&[
        "OPENSSH PRIVATE KEY",
        "RSA PRIVATE KEY",
        "EC PRIVATE KEY",
        "DSA PRIVATE KEY",
        "PRIVATE KEY",
        "PGP PRIVATE KEY BLOCK",
    ]);
    let length = match kind {
        _ if any_length => random.between(30, 2400),
        "EC PRIVATE KEY" | "PRIVATE KEY" => 138,
        _ => 1190,
    };
    let body = pem_lines(random, length);
    match kind {
        "PGP PRIVATE KEY BLOCK" => {
            let sum = random.of(BASE64, 4);
            format!("-----BEGIN {kind}-----\n\n{body}={sum}\n-----END {kind}-----")
        }
        _ => format!("-----BEGIN {kind}-----\n{body}-----END {kind}-----"),
    }
}

/// A DER sequence of `length` bytes in base64, in lines of 64.
pub(super) fn pem_lines(random: &mut Random, length: usize) -> String {
    let mut der = vec![0x30, 0x82];
    der.extend(u16::try_from(length).expect("keys are short").to_be_bytes());
    der.extend(random.bytes(length));
    let digits = STANDARD.encode(der);
    let lines = digits.as_bytes().chunks(64).map(|line| line.escape_ascii().to_string() + "\n");
    lines.collect()
}
