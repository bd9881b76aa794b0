//! Text without any secret, of the kinds that look most like it.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

use super::random::{
    ALNUM, BASE64, DIGITS, HEX, LETTERS, LOWER, LOWER_DIGITS, Random, UPPER, URL64,
};

/// A kind of text.
pub(super) struct Kind {
    /// What it is.
    pub(super) name: &'static str,
    write: fn(&mut Random) -> String,
}

impl Kind {
    /// At least `length` bytes of it.
    #[must_use]
    pub(super) fn text(&self, seed: u64, length: usize) -> String {
        let mut random = Random::named(seed, self.name);
        let mut text = String::new();
        while text.len() < length {
            text.push_str(&(self.write)(&mut random));
        }
        text
    }
}

/// All kinds.
pub(super) const KINDS: [Kind; 18] = [
    Kind { name: "package-lock.json", write: npm },
    Kind { name: "yarn.lock, Cargo.lock, go.sum", write: locks },
    Kind { name: "git log and hashes", write: git },
    Kind { name: "UUIDs and object ids", write: ids },
    Kind { name: "minified JavaScript", write: minified },
    Kind { name: "base64 media and fonts", write: media },
    Kind { name: "base64 JSON and cursors", write: cursors },
    Kind { name: "logs", write: logs },
    Kind { name: "model and tool ids", write: models },
    Kind { name: "source code", write: source },
    Kind { name: "source code about credentials", write: credentials },
    Kind { name: "HTML with integrity", write: integrity },
    Kind { name: "container digests", write: digests },
    Kind { name: "HTTP exchanges", write: exchanges },
    Kind { name: "placeholders", write: placeholders },
    Kind { name: "certificates and public keys", write: public_keys },
    Kind { name: "prose", write: prose },
    Kind { name: "hex dumps", write: dumps },
];

fn sha512(r: &mut Random) -> String {
    STANDARD.encode(r.bytes(64))
}

fn uuid(r: &mut Random) -> String {
    [8, 4, 4, 4, 12].map(|count| r.of(HEX, count)).join("-")
}

fn version(r: &mut Random) -> String {
    format!("{}.{}.{}", r.below(9), r.below(40), r.below(20))
}

fn identifier(r: &mut Random) -> String {
    let [first, second] = [r.words(1), r.words(1)];
    match r.below(3) {
        0 => format!("{first}_{second}"),
        1 => first + &second[..1].to_uppercase() + &second[1..],
        _ => format!("{first}{}", r.below(100)),
    }
}

fn npm(r: &mut Random) -> String {
    let (name, version) = (r.some(LOWER, 3, 14), version(r));
    format!(
        "    \"node_modules/@{name}/{name}-core\": {{\n      \"version\": \"{version}\",\n      \
         \"resolved\": \"https://packages.example/@{name}/core/-/core-{version}.tgz\",\n      \
         \"integrity\": \"sha512-{}\",\n      \"license\": \"MIT\",\n      \"engines\": {{ \"node\": \">=18\" }}\n    }},\n",
        sha512(r)
    )
}

fn locks(r: &mut Random) -> String {
    let (name, version) = (r.some(LOWER, 3, 14), version(r));
    match r.below(4) {
        0 => format!(
            "[[package]]\nname = \"{name}\"\nversion = \"{version}\"\nchecksum = \"{}\"\n\n",
            r.of(HEX, 64)
        ),
        1 => format!(
            "\"@{name}/core@^{version}\":\n  version \"{version}\"\n  resolved \"https://packages.example/core/-/core-{version}.tgz#{}\"\n  integrity sha512-{}\n\n",
            r.of(HEX, 40),
            sha512(r)
        ),
        2 => format!(
            "code.example/{name}/{name} v{version} h1:{}\ncode.example/{name} v{version}/go.mod h1:{}\n",
            STANDARD.encode(r.bytes(32)),
            STANDARD.encode(r.bytes(32))
        ),
        _ => format!(
            "{name}=={version} \\\n    --hash=sha256:{} \\\n    --hash=sha256:{}\n",
            r.of(HEX, 64),
            r.of(HEX, 64)
        ),
    }
}

fn git(r: &mut Random) -> String {
    match r.below(4) {
        0 => format!(
            "commit {}\nMerge: {} {}\nAuthor: A. Person <a@example.org>\n\n    {}\n\n",
            r.of(HEX, 40),
            r.of(HEX, 7),
            r.of(HEX, 7),
            r.words(7)
        ),
        1 => format!(
            "diff --git a/{0} b/{0}\nindex {1}..{2} 100644\n",
            identifier(r) + ".rs",
            r.of(HEX, 10),
            r.of(HEX, 10)
        ),
        2 => format!("{} refs/heads/{}-{}\n", r.of(HEX, 40), r.words(1), r.below(9999)),
        _ => format!(
            "160000 commit {}\t{}\n100644 blob {}\t{}.c\n",
            r.of(HEX, 40),
            r.words(1),
            r.of(HEX, 64),
            r.words(1)
        ),
    }
}

fn ids(r: &mut Random) -> String {
    match r.below(6) {
        0 | 1 => format!("  \"{}_id\": \"{}\",\n", r.words(1), uuid(r)),
        2 => format!("({}, '{}', {}, NULL),\n", r.below(99999), uuid(r), r.of("123456789", 9)),
        3 => format!("{}\n", uuid(r).to_uppercase()),
        4 => format!(
            "{{ \"_id\": {{ \"$oid\": \"{}\" }}, \"n\": {} }}\n",
            r.of(HEX, 24),
            r.below(1000)
        ),
        _ => format!("01{}\turn:uuid:{}\n", r.of("0123456789ABCDEFGHJKMNPQRSTVWXYZ", 24), uuid(r)),
    }
}

/// Names as programmers give them, and bundlers keep them.
fn method(r: &mut Random) -> String {
    let count = r.between(1, 5);
    let mut words = (0..count).map(|_| r.words(1)).collect::<Vec<_>>().into_iter();
    let first = words.next().unwrap_or_default();
    words.fold(first, |name, word| name + &word[..1].to_uppercase() + &word[1..])
}

/// What a bundler makes, with methods of every length: those of 24 letters, called on `s`, look
/// like old tokens of Vault.
fn minified(r: &mut Random) -> String {
    let [a, b, c, o] = [0; 4].map(|_| r.of(LETTERS, 1));
    let [first, second, third] = [0; 3].map(|_| method(r));
    match r.below(40) {
        0 => {
            let mut name = method(r);
            while name.len() < 24 {
                name += &method(r);
            }
            format!("s.{}({b}),", &name[..24])
        }
        1..10 => format!(
            "function {a}({b},{c}){{return {o}.{third}({b}.{first},{c})||e.{second}(0x{})}}",
            r.of(HEX, 8)
        ),
        10..18 => format!(
            "const{{{first}:{a},{second}:{b}}}=n({});{o}.{first}=({c})=>this.{third}?.{o}.{second};",
            r.below(9999)
        ),
        18..26 => {
            format!("{a}.push([{}.{},`${{{o}.{third}}}px`,\"{first}\"]),", r.below(9), r.below(99))
        }
        26..35 => format!("{a}:{{key:\"{first}\",token:{b}.{second},secret:!0,password:void 0}},"),
        _ => format!("e.exports=\"data:image/svg+xml;base64,{}\";", STANDARD.encode(r.bytes(60))),
    }
}

fn media(r: &mut Random) -> String {
    let (name, magic): (&str, &[u8]) = *r.pick(&[
        ("image/png", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".as_slice()),
        ("image/jpeg", b"\xff\xd8\xff\xe0\0\x10JFIF\0"),
        ("font/woff2", b"wOF2\0\x01\0\0"),
        ("application/wasm", b"\0asm\x01\0\0\0"),
        ("application/pdf", b"%PDF-1.7\n"),
    ]);
    let mut bytes = magic.to_vec();
    let count = r.between(200, 6000);
    bytes.extend(r.bytes(count));
    match r.below(3) {
        0 => format!("<img src=\"data:{name};base64,{}\">\n", STANDARD.encode(bytes)),
        1 => {
            format!("src: url(data:{name};base64,{}) format(\"woff2\");\n", STANDARD.encode(bytes))
        }
        _ => {
            let digits = STANDARD.encode(bytes);
            let lines = digits.as_bytes().chunks(76).map(|line| line.escape_ascii().to_string());
            lines.collect::<Vec<_>>().join("\n") + "\n"
        }
    }
}

fn cursors(r: &mut Random) -> String {
    let plain = format!(
        r#"{{"id":{},"page":{},"sort":"created_at","after":"{}"}}"#,
        r.of("123456789", 8),
        r.below(90),
        uuid(r)
    );
    match r.below(4) {
        0 => format!("\"next\": \"{}\",\n", STANDARD.encode(plain)),
        1 => format!("GET /v1/items?cursor={}&limit=50\n", URL_SAFE_NO_PAD.encode(plain)),
        2 => format!(
            "\"endCursor\": \"{}\",\n",
            STANDARD.encode(format!("cursor:v2:{}", r.below(99999)))
        ),
        _ => format!(
            "//# sourceMappingURL=data:application/json;base64,{}\n",
            STANDARD.encode(plain.repeat(4))
        ),
    }
}

fn logs(r: &mut Random) -> String {
    let time = format!(
        "2026-11-{:02}T{:02}:{:02}:11.{:03}Z",
        r.between(1, 30),
        r.below(24),
        r.below(60),
        r.below(1000)
    );
    match r.below(6) {
        0 => format!(
            "{time} INFO request_id=req_{} trace_id={} span_id={} {}\n",
            r.of(ALNUM, 24),
            r.of(HEX, 32),
            r.of(HEX, 16),
            r.words(4)
        ),
        1 => format!(
            "{time} WARN pod/api-{}-{} restarted, image sha256:{}\n",
            r.of(HEX, 10),
            r.of(LOWER_DIGITS, 5),
            r.of(HEX, 64)
        ),
        2 => format!(
            "10.0.{}.{} - - \"GET /assets/index-{}.js HTTP/1.1\" 200 {} \"-\" rt=0.{:03}\n",
            r.below(256),
            r.below(256),
            r.of(URL64, 8),
            r.below(99999),
            r.below(1000)
        ),
        3 => format!(
            "{time} DEBUG tokens used: {} cache_key={} user_id={} session={}\n",
            r.below(9999),
            r.of(HEX, 40),
            r.below(99999),
            uuid(r)
        ),
        4 => format!(
            "traceparent: 00-{}-{}-01\nx-amz-request-id: {}\n",
            r.of(HEX, 32),
            r.of(HEX, 16),
            r.of(UPPER, 16)
        ),
        _ => format!(
            "\u{1b}[32mok\u{1b}[0m  {} \u{1b}[2m({} ms)\u{1b}[22m at 0x{}\n",
            r.words(3),
            r.below(999),
            r.of(HEX, 12)
        ),
    }
}

fn models(r: &mut Random) -> String {
    let model = *r.pick(&[
        "claude-sonnet-4-5-20250929",
        "claude-opus-4-1-20250805",
        "gpt-4o-mini-2024-07-18",
        "gemini-2.5-pro-preview-05-06",
        "meta-llama/Llama-3.3-70B-Instruct",
        "o3-mini-high",
        "text-embedding-3-large",
        "sk-learn-compatible-estimators",
        "deepseek-r1-distill-qwen-32b",
    ]);
    format!(
        "{{\"model\":\"{model}\",\"id\":\"msg_01{}\",\"tool_use_id\":\"toolu_01{}\",\"call\":\"call_{}\",\"resp\":\"resp_{}\",\"fp\":\"fp_{}\"}}\n",
        r.of(ALNUM, 22),
        r.of(ALNUM, 22),
        r.of(ALNUM, 24),
        r.of(HEX, 48),
        r.of(HEX, 10)
    )
}

fn source(r: &mut Random) -> String {
    let [a, b, c] = [0; 3].map(|_| identifier(r));
    match r.below(7) {
        0 => format!(
            "pub fn {a}(&self, {b}: &str) -> Result<{c}, Error> {{\n    self.{b}.{c}()?.map(|s| s.{a}({b}))\n}}\n"
        ),
        1 => format!(
            "def {a}(self, {b}=None):\n    return self.{c}[{b}] if {b} else {}\n",
            r.below(999)
        ),
        2 => format!(
            "import {{ {a}, {b} }} from '@/lib/{c}';\nexport const {a}Key = createKey('{b}', {});\n",
            r.below(99)
        ),
        3 => format!(
            "func (s *Server) {a}(ctx context.Context) error {{ return s.handle{}(ctx, \"{b}\") }}\n",
            r.some(LETTERS, 3, 16)
        ),
        4 => format!(
            "CREATE TABLE {a} (id BIGINT PRIMARY KEY, {b}_key TEXT NOT NULL, FOREIGN KEY ({c}) REFERENCES {b}(id));\n"
        ),
        5 => format!(
            "  color: #{}; background: url(/static/{b}.{}.svg) no-repeat; margin: {}px;\n",
            r.of(HEX, 6),
            r.of(HEX, 8),
            r.below(99)
        ),
        _ => format!(
            "std::unordered_map<std::string, {a}> {b}; // {c}: AC, SK, hf_ and BSA are not enough\n"
        ),
    }
}

/// Code that names passwords and tokens, and holds none.
fn credentials(r: &mut Random) -> String {
    let [a, b] = [0; 2].map(|_| identifier(r));
    let line = match r.below(16) {
        0 => format!("const password = await prompt(\"{} password: \");", r.words(2)),
        1 => format!("self.{a}_token = self.get_token({b}, refresh=True)"),
        2 => format!("let secret_key = Key::from_file(&config.{a}_path)?;"),
        3 => "password: Option<String>,".to_owned(),
        4 => format!("apiKey: string; // the {a}'s"),
        5 => format!("token = tokenizer.encode({a}, max_tokens={})", r.below(9999)),
        6 => format!(
            "if (req.headers['x-api-key'] !== process.env.{}_API_KEY) return deny();",
            a.to_uppercase()
        ),
        7 => format!("\"passwordHint\": \"{}\",", r.words(6)),
        8 => format!("sort_key = \"{a}_created_at\"; partition_key = \"{b}_id\""),
        9 => format!("access_token = oauth.fetch_token(token_url={a}_url, client_id={b})"),
        10 => format!("key={a}.{b} secret=None token=null password=\"\""),
        11 => format!("logger.info(\"token expired for %s\", {a}.user_name)"),
        12 => format!("PASSWORD_RESET_TIMEOUT = {}", r.below(99999)),
        13 => format!("secretName: {a}-tls-certificate-issuer"),
        14 => format!(
            "<input type=\"password\" name=\"password\" id=\"{a}-password\" autocomplete=\"current-password\">"
        ),
        _ => format!("assert_eq!(mask_token(&{a}), \"****\"); // key: {b}"),
    };
    line + "\n"
}

fn integrity(r: &mut Random) -> String {
    format!(
        "<script src=\"/assets/{}-{}.js\" integrity=\"sha384-{}\" crossorigin=\"anonymous\" nonce=\"{}\"></script>\n",
        r.words(1),
        r.of(URL64, 8),
        STANDARD.encode(r.bytes(48)),
        STANDARD.encode(r.bytes(16))
    )
}

fn digests(r: &mut Random) -> String {
    match r.below(3) {
        0 => {
            format!("FROM images.example/{}:{}@sha256:{}\n", r.words(1), version(r), r.of(HEX, 64))
        }
        1 => format!(
            "      \"digest\": \"sha256:{}\", \"size\": {},\n",
            r.of(HEX, 64),
            r.below(9_999_999)
        ),
        _ => format!("{}  {}-{}.tar.gz\n", r.of(HEX, 64), r.words(1), version(r)),
    }
}

fn exchanges(r: &mut Random) -> String {
    format!(
        "HTTP/2 200\netag: W/\"{}-{}\"\nx-request-id: {}\ncf-ray: {}-AMS\nx-cache-key: {}\nvary: accept, authorization\ncontent-md5: {}\nlocation: /v1/files/file-{}?rev={}\n\n",
        r.of(HEX, 5),
        r.of(BASE64, 27),
        uuid(r),
        r.of(HEX, 16),
        r.of(HEX, 32),
        STANDARD.encode(r.bytes(16)),
        r.of(ALNUM, 24),
        r.of(DIGITS, 10)
    )
}

/// What stands where a secret would, and is none.
fn placeholders(r: &mut Random) -> String {
    let name =
        *r.pick(&["API_KEY", "DB_PASSWORD", "AUTH_TOKEN", "CLIENT_SECRET", "OPENAI_API_KEY"]);
    let line = match r.below(18) {
        0 => format!("{name}=***"),
        1 => format!("{name}=[REDACTED]"),
        2 => format!("{name}=${{{name}}}"),
        3 => format!("{name} = os.environ[\"{name}\"]"),
        4 => format!("{name}=<your-key>"),
        5 => format!("{name}: ${{{{ secrets.{name} }}}}"),
        6 => format!("export {name}=\"$(pass show work/{})\"", name.to_lowercase()),
        7 => format!("{name}=your_{}_here", name.to_lowercase()),
        8 => format!("const key = process.env.{name} ?? \"\";"),
        9 => format!("{name}=xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"),
        10 => "curl -H \"Authorization: Bearer $TOKEN\" https://api.example/v1".to_owned(),
        11 => "Authorization: Bearer <token>".to_owned(),
        12 => format!("{name}=sk-..."),
        13 => "postgres://user:${DB_PASSWORD}@localhost:5432/app".to_owned(),
        14 => "postgres://user:<password>@localhost:5432/app".to_owned(),
        15 => format!("{name}={{{{ vault_{} }}}}", name.to_lowercase()),
        16 => format!("{name}=%{name}%"),
        _ => format!("set {name} to sk-ant-api03-... or ghp_****************"),
    };
    line + "\n"
}

fn public_keys(r: &mut Random) -> String {
    let lines = |r: &mut Random, count: usize| {
        (0..count).map(|_| r.of(BASE64, 64) + "\n").collect::<String>()
    };
    match r.below(4) {
        0 => format!("-----BEGIN CERTIFICATE-----\n{}-----END CERTIFICATE-----\n", lines(r, 18)),
        1 => format!("-----BEGIN PUBLIC KEY-----\n{}-----END PUBLIC KEY-----\n", lines(r, 4)),
        2 => format!("ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAI{} deploy@example\n", r.of(BASE64, 43)),
        _ => format!("SHA256:{} host.example (ED25519)\n", r.of(BASE64, 43)),
    }
}

fn prose(r: &mut Random) -> String {
    let count = r.between(6, 20);
    let sentence = r.words(count);
    sentence[..1].to_uppercase() + &sentence[1..] + ". "
}

fn dumps(r: &mut Random) -> String {
    let bytes: Vec<String> = r.bytes(16).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("{:08x}: {}  {}\n", r.below(1 << 24), bytes.join(" "), r.of(LETTERS, 16))
}
