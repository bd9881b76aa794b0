//! Types beyond the published set, and shapes of its types that its expressions do not take.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::checksum::{base62, crc32};
use super::published::{discord, jwt, pem_lines};
use super::random::{
    ALNUM, BASE32, BASE64, DIGITS, HEX, LETTERS, LOWER_DIGITS, Random, UPPER, URL64,
};
use super::shape::{Framing, Group, Make, Secret, Shape};

/// All of them.
pub(super) fn shapes() -> Vec<Shape> {
    let shape = |framing| {
        move |(name, source, make): &(&'static str, &'static str, Make)| Shape {
            framing,
            ..Shape::bare(name, source, Group::Further, *make)
        }
    };
    let named = NAMED.iter().map(|(name, key, make)| Shape {
        framing: Framing::Named(key),
        ..Shape::bare(name, "further", Group::Further, *make)
    });
    let departing = DEPARTING.iter().map(|(name, make)| (*name, "departing", *make));
    let prefixed = PREFIXED.iter().map(|(name, make)| (*name, "further", *make));
    let lines = LINES.iter().map(|(name, make)| (*name, "further", *make));
    let bare = departing.chain(prefixed).map(|entry| shape(Framing::Bare)(&entry));
    bare.chain(named).chain(lines.map(|entry| shape(Framing::Line)(&entry))).collect()
}

/// What vendors of published types issue and the published expressions do not take.
const DEPARTING: [(&str, Make); 17] = [
    ("ANTHROPIC_KEY", |r| {
        let prefix = *r.pick(&["sk-ant-admin01-", "sk-ant-sid01-"]);
        format!("{prefix}{}AA", r.of(URL64, 93)).into()
    }),
    ("ANTHROPIC_OAUTH_TOKEN", |r| format!("sk-ant-ort01-{}AA", r.of(URL64, 93)).into()),
    ("OPENAI_KEY", |r| format!("sk-{}T3BlbkFJ{}", r.of(ALNUM, 20), r.of(ALNUM, 20)).into()),
    ("AWS_ACCESS_KEY", |r| format!("{}{}", r.pick(&["ABIA", "ACCA"]), r.of(BASE32, 16)).into()),
    ("GITHUB_TOKEN", |r| format!("github_pat_{}_{}", r.of(ALNUM, 22), r.of(ALNUM, 59)).into()),
    ("GITHUB_TOKEN", |r| format!("ghs_{}_{}", r.of("123456789", 7), jwt(r)).into()),
    ("CLOUDFLARE_API_TOKEN", |r| {
        let body = r.of(ALNUM, 40);
        format!("cfat_{body}{:08x}", crc32(body.as_bytes())).into()
    }),
    ("VERCEL_TOKEN", |r| {
        let prefix = *r.pick(&["vcp_", "vci_", "vca_", "vcr_", "vck_"]);
        (prefix.to_owned() + &r.of(ALNUM, 56)).into()
    }),
    ("DROPBOX_KEY", |r| format!("sl.{}{}", r.some(URL64, 130, 150), r.of(ALNUM, 1)).into()),
    ("TURSO_KEY", |r| jwt(r).into()),
    ("GOOGLE_AI_KEY", |r| format!("AQ.Ab8RN6{}{}", r.of(URL64, 43), r.of(ALNUM, 1)).into()),
    ("DISCORD_BOT_TOKEN", |r| {
        // The published expression knows ids of 18 digits and more that start with 1, 2 or 3.
        let (first, count) = *r.pick(&[("456789", 17), ("456789", 18), ("123456789", 16)]);
        let id = r.of(first, 1) + &r.of(DIGITS, count);
        discord(&id, r).into()
    }),
    ("PEM_BLOCK", |r| block("ENCRYPTED PRIVATE KEY", "", r, true)),
    ("PEM_BLOCK", |r| block("RSA PRIVATE KEY", "", r, false)),
    ("PEM_BLOCK", |r| {
        let iv = r.of("0123456789ABCDEF", 32);
        let head = format!("Proc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,{iv}\n\n");
        block("RSA PRIVATE KEY", &head, r, true)
    }),
    ("PEM_BLOCK", |r| block("ED25519 PRIVATE KEY", "", r, true)),
    ("PUTTY_KEY", |r| {
        let lines = pem_lines(r, 90);
        let count = lines.lines().count();
        let secret: Secret = lines.trim_end().to_owned().into();
        secret.within(
            &format!("PuTTY-User-Key-File-3: ssh-ed25519\nPrivate-Lines: {count}\n"),
            &format!("\nPrivate-MAC: {}", r.of(HEX, 64)),
        )
    }),
];

/// Told by a prefix, or by something in their middle.
const PREFIXED: [(&str, Make); 50] = [
    ("xAI", |r| ("xai-".to_owned() + &r.of(ALNUM, 80)).into()),
    ("Replicate", |r| ("r8_".to_owned() + &r.of(ALNUM, 37)).into()),
    ("NVIDIA", |r| format!("nvapi-{}{}", r.some(URL64, 59, 69), r.of(ALNUM, 1)).into()),
    ("LangSmith", |r| {
        let prefix = *r.pick(&["lsv2_pt_", "lsv2_sk_"]);
        format!("{prefix}{}_{}", r.of(HEX, 32), r.of(HEX, 10)).into()
    }),
    ("Together", |r| format!("tgp_v1_{}{}", r.of(URL64, 42), r.of(ALNUM, 1)).into()),
    ("Cerebras", |r| ("csk-".to_owned() + &r.of(LOWER_DIGITS, 48)).into()),
    ("Pinecone", |r| format!("pcsk_{}_{}", r.some(ALNUM, 5, 6), r.of(ALNUM, 63)).into()),
    ("Slack bot", |r| slack("xoxb-", 24, r)),
    ("Slack user", |r| {
        let groups = [r.of(DIGITS, 12), r.of(DIGITS, 12), r.of(DIGITS, 13)].join("-");
        format!("xoxp-{groups}-{}", r.of(HEX, 32)).into()
    }),
    ("Slack app", |r| {
        let id = r.of(UPPER, 10);
        format!("xapp-1-A{id}-{}-{}", r.of(DIGITS, 13), r.of(HEX, 64)).into()
    }),
    ("Slack configuration", |r| format!("xoxe.xoxp-1-{}", r.of(ALNUM, 163)).into()),
    ("Slack client", |r| slack("xoxc-", 64, r)),
    ("Slack cookie", |r| format!("xoxd-{}{}", r.of(ALNUM, 90), r.of(LETTERS, 40)).into()),
    ("Slack webhook", |r| {
        let team = format!("T{}/B{}/", r.of(UPPER, 10), r.of(UPPER, 10));
        let secret: Secret = r.of(ALNUM, 24).into();
        secret.within(&format!("https://hooks.slack.com/services/{team}"), "")
    }),
    ("Stripe", |r| {
        let prefix = *r.pick(&["sk_live_", "sk_test_", "rk_live_", "rk_test_"]);
        (prefix.to_owned() + &r.some(ALNUM, 24, 99)).into()
    }),
    ("Stripe webhook", |r| ("whsec_".to_owned() + &r.of(ALNUM, 32)).into()),
    ("GitLab", |r| format!("glpat-{}{}", r.of(URL64, 19), r.of(ALNUM, 1)).into()),
    ("GitLab routable", |r| {
        let body = r.some(URL64, 27, 60);
        format!("glpat-{body}.{}.{}", r.of(LOWER_DIGITS, 2), r.of(LOWER_DIGITS, 9)).into()
    }),
    ("GitLab others", |r| {
        let prefix = *r.pick(&["glrt-", "gldt-"]);
        format!("{prefix}{}{}", r.of(URL64, 19), r.of(ALNUM, 1)).into()
    }),
    ("GitLab job", |r| format!("glcbt-{}_{}", r.of(HEX, 2), r.of(ALNUM, 20)).into()),
    ("GitLab trigger", |r| ("glptt-".to_owned() + &r.of(HEX, 40)).into()),
    ("GitLab runner", |r| format!("GR1348941{}{}", r.of(URL64, 19), r.of(ALNUM, 1)).into()),
    ("npm", |r| {
        let body = r.of(ALNUM, 30);
        format!("npm_{body}{}", base62(crc32(body.as_bytes()))).into()
    }),
    ("PyPI", |r| {
        format!("pypi-AgEIcHlwaS5vcmc{}{}", r.some(URL64, 70, 180), r.of(ALNUM, 1)).into()
    }),
    ("RubyGems", |r| ("rubygems_".to_owned() + &r.of(HEX, 48)).into()),
    ("Docker Hub", |r| match r.below(2) {
        0 => format!("dckr_pat_{}{}", r.of(URL64, 26), r.of(ALNUM, 1)).into(),
        _ => format!("dckr_oat_{}{}", r.of(URL64, 31), r.of(ALNUM, 1)).into(),
    }),
    ("AWS session", |r| {
        format!("IQoJb3JpZ2lu{}{}", r.some(BASE64, 300, 900), r.of(ALNUM, 1)).into()
    }),
    ("AWS Bedrock", |r| {
        let account = r.of(DIGITS, 12);
        let plain = format!("BedrockAPIKey-{}-at-{account}:{}", r.of(ALNUM, 4), r.of(ALNUM, 65));
        format!("ABSK{}", STANDARD.encode(plain)).into()
    }),
    ("Azure AD", |r| {
        let tail = r.some(URL64, 30, 33);
        format!("{}{}Q~{tail}{}", r.of(ALNUM, 3), r.of(DIGITS, 1), r.of(ALNUM, 1)).into()
    }),
    ("Google OAuth", |r| format!("ya29.{}{}", r.some(URL64, 120, 220), r.of(ALNUM, 1)).into()),
    ("Google client", |r| format!("GOCSPX-{}{}", r.of(URL64, 27), r.of(ALNUM, 1)).into()),
    ("Google refresh", |r| format!("1//0{}{}", r.some(URL64, 80, 110), r.of(ALNUM, 1)).into()),
    ("Databricks", |r| format!("dapi{}{}", r.of(HEX, 32), r.pick(&["", "-2"])).into()),
    ("DigitalOcean", |r| {
        let prefix = *r.pick(&["dop_v1_", "doo_v1_", "dor_v1_"]);
        (prefix.to_owned() + &r.of(HEX, 64)).into()
    }),
    ("Shopify", |r| {
        let prefix = *r.pick(&["shpat_", "shpca_", "shppa_", "shpss_"]);
        (prefix.to_owned() + &r.of(HEX, 32)).into()
    }),
    ("Square", |r| match r.below(2) {
        0 => format!("EAAA{}{}", r.of(URL64, 59), r.of(ALNUM, 1)).into(),
        _ => format!("sq0atp-{}{}", r.of(URL64, 21), r.of(ALNUM, 1)).into(),
    }),
    ("Mailchimp", |r| format!("{}-us{}", r.of(HEX, 32), r.between(1, 21)).into()),
    ("Postman", |r| format!("PMAK-{}-{}", r.of(HEX, 24), r.of(HEX, 34)).into()),
    ("Pulumi", |r| ("pul-".to_owned() + &r.of(HEX, 40)).into()),
    ("Terraform", |r| {
        let body = r.some(ALNUM, 60, 70);
        format!("{}.atlasv1.{body}", r.of(ALNUM, 14)).into()
    }),
    ("Doppler", |r| ("dp.pt.".to_owned() + &r.of(ALNUM, 43)).into()),
    ("Tailscale", |r| {
        let prefix = *r.pick(&["tskey-auth-", "tskey-api-"]);
        format!("{prefix}k{}CNTRL-{}", r.of(ALNUM, 11), r.of(ALNUM, 32)).into()
    }),
    ("Figma", |r| format!("figd_{}{}", r.some(URL64, 37, 41), r.of(ALNUM, 1)).into()),
    ("Sentry", |r| match r.below(2) {
        0 => ("sntryu_".to_owned() + &r.of(HEX, 64)).into(),
        _ => {
            let body = STANDARD.encode(format!(r#"{{"iat":17{},"org":"acme"}}"#, r.of(DIGITS, 8)));
            format!("sntrys_{body}_{}", r.of(BASE64, 43)).into()
        }
    }),
    ("Grafana", |r| {
        let body = format!("glsa_{}", r.of(ALNUM, 32));
        let sum = crc32(body.as_bytes()).to_le_bytes();
        let sum: String = sum.iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{body}_{sum}").into()
    }),
    ("New Relic", |r| ("NRAK-".to_owned() + &r.of(UPPER, 27)).into()),
    ("Heroku", |r| format!("HRKU-AA{}{}", r.of(URL64, 57), r.of(ALNUM, 1)).into()),
    ("Netlify", |r| ("nfp_".to_owned() + &r.of(ALNUM, 36)).into()),
    ("Supabase PAT", |r| ("sbp_".to_owned() + &r.of(HEX, 40)).into()),
    ("Typeform", |r| format!("tfp_{}_{}", r.of(ALNUM, 44), r.of(ALNUM, 14)).into()),
];

/// Told by the name of what they are assigned to.
const NAMED: [(&str, &str, Make); 14] = [
    ("DeepSeek", "DEEPSEEK_API_KEY", |r| ("sk-".to_owned() + &r.of(HEX, 32)).into()),
    ("Mistral", "MISTRAL_API_KEY", |r| r.of(ALNUM, 32).into()),
    ("Cohere", "COHERE_API_KEY", |r| r.of(ALNUM, 40).into()),
    ("AWS secret", "AWS_SECRET_ACCESS_KEY", |r| r.of(BASE64, 40).into()),
    ("Datadog API", "DD_API_KEY", |r| r.of(HEX, 32).into()),
    ("Datadog app", "DATADOG_APP_KEY", |r| r.of(HEX, 40).into()),
    ("Mailgun", "MAILGUN_API_KEY", |r| ("key-".to_owned() + &r.of(HEX, 32)).into()),
    ("Twilio auth", "TWILIO_AUTH_TOKEN", |r| r.of(HEX, 32).into()),
    ("Linear OAuth", "LINEAR_TOKEN", |r| ("lin_oauth_".to_owned() + &r.of(HEX, 64)).into()),
    ("Notion, old", "NOTION_TOKEN", |r| ("secret_".to_owned() + &r.of(ALNUM, 43)).into()),
    ("Vercel, old", "VERCEL_TOKEN", |r| r.of(ALNUM, 24).into()),
    ("generic password", "DB_PASSWORD", |r| {
        r.of("0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz_!%^*", 20).into()
    }),
    ("generic secret", "CLIENT_SECRET", |r| r.of(ALNUM, 32).into()),
    ("generic token", "SERVICE_TOKEN", |r| r.of(ALNUM, 40).into()),
];

/// Told by the rest of their line.
const LINES: [(&str, Make); 12] = [
    ("database URL", |r| {
        let scheme = *r.pick(&["postgres", "postgresql", "mysql", "mongodb+srv", "redis", "amqp"]);
        let password: Secret = r.some(ALNUM, 12, 32).into();
        password.within(&format!("{scheme}://app:"), "@db.internal.example:5432/main")
    }),
    ("Azure storage", |r| {
        let key: Secret = (r.of(BASE64, 86) + "==").into();
        let head = "DefaultEndpointsProtocol=https;AccountName=acme;AccountKey=";
        key.within(head, ";EndpointSuffix=core.windows.net")
    }),
    ("Azure SAS", |r| {
        let plain = STANDARD.encode(r.bytes(32));
        let escaped = plain.replace('+', "%2B").replace('/', "%2F").replace('=', "%3D");
        let head = "https://acme.blob.core.windows.net/c?sv=2024-11-04&se=2027-01-01T00%3A00%3A00Z&sr=c&sp=rl&sig=";
        Secret::from(escaped).within(head, "")
    }),
    ("Bearer header", |r| Secret::from(r.of(ALNUM, 40)).within("Authorization: Bearer ", "")),
    ("Basic header", |r| {
        let pair = STANDARD.encode(format!("deploy:{}", r.of(ALNUM, 20)));
        Secret::from(pair).within("Authorization: Basic ", "")
    }),
    (".npmrc", |r| {
        let token = [8, 4, 4, 4, 12].map(|count| r.of(HEX, count)).join("-");
        Secret::from(token).within("//packages.example/:_authToken=", "")
    }),
    (".netrc", |r| {
        let before = "machine git.example login deploy password ";
        Secret::from(r.of(ALNUM, 24)).within(before, "")
    }),
    ("docker config", |r| {
        let pair = STANDARD.encode(format!("deploy:{}", r.of(ALNUM, 24)));
        Secret::from(pair).within(r#"{"auths":{"hub.example":{"auth":""#, r#""}}}"#)
    }),
    ("kubeconfig", |r| {
        let key = block("RSA PRIVATE KEY", "", r, true).text();
        Secret::from(STANDARD.encode(key)).within("    client-key-data: ", "")
    }),
    ("GCP service account", |r| {
        let key = block("PRIVATE KEY", "", r, true).text().replace('\n', "\\n");
        Secret::from(key).within(r#"{"type": "service_account", "private_key": ""#, r#"\n"}"#)
    }),
    ("AWS pair", |r| {
        let id = r.of(BASE32, 16);
        Secret::from(r.of(BASE64, 40)).within(&format!("AKIA{id},"), "")
    }),
    ("Grafana Cloud", |r| {
        let key = URL_SAFE_NO_PAD.encode(r.bytes(24));
        let plain =
            format!(r#"{{"o":"{}","n":"ci","k":"{key}","m":{{"r":"eu"}}}}"#, r.of(DIGITS, 6));
        Secret::from(format!("glc_{}", STANDARD.encode(plain))).within("token ", "")
    }),
];

fn slack(prefix: &str, tail: usize, random: &mut Random) -> Secret {
    let groups = [random.of(DIGITS, 12), random.of(DIGITS, 13)].join("-");
    format!("{prefix}{groups}-{}", random.of(ALNUM, tail)).into()
}

/// A private key block of `kind`, with or without its END line.
fn block(kind: &str, head: &str, random: &mut Random, ends: bool) -> Secret {
    let lines = pem_lines(random, 608);
    let body = format!("-----BEGIN {kind}-----\n{head}{lines}");
    let end = format!("-----END {kind}-----");
    (if ends { body + &end } else { body.trim_end().to_owned() }).into()
}
