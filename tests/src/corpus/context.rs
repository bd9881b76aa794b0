//! The files and messages that secrets stand in.

use super::random::Random;
use super::shape::{Framing, Secret};

/// What becomes of the line ends in a secret.
#[derive(Debug, Clone, Copy)]
enum Lines {
    /// They are spelt out, as in string literals.
    Spelt(&'static str),
    /// They stay, and this stands after each; `{#}` is a number.
    Kept(&'static str),
    /// They become CR LF.
    Crlf,
}

/// A file or message around a secret.
#[derive(Debug, Clone, Copy)]
pub(super) struct Surroundings {
    /// What it is.
    pub(super) name: &'static str,
    /// `{S}` is the secret, `{N}` and `{n}` the name it is assigned to.
    template: &'static str,
    lines: Lines,
    takes: Takes,
}

/// Which secrets can stand there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Takes {
    /// Any but those that need a name.
    Unnamed,
    /// Any but those that need the rest of their line.
    Values,
    /// Values that mean the same in a URL.
    UrlSafe,
    /// Those that stand for themselves.
    Bare,
}

const fn at(
    name: &'static str,
    template: &'static str,
    lines: Lines,
    takes: Takes,
) -> Surroundings {
    Surroundings { name, template, lines, takes }
}

const N: Lines = Lines::Spelt("\\n");

/// As people write them.
pub(super) const PLAIN: [Surroundings; 19] = [
    at(".env", "DEBUG=0\n{N}={S}\nPORT=8080\n", N, Takes::Values),
    at("shell", "export {N}=\"{S}\"\n./run --all\n", N, Takes::Values),
    at("JSON", "{\n  \"port\": 8080,\n  \"{n}\": \"{S}\"\n}\n", N, Takes::Values),
    at("YAML", "server:\n  {n}: {S}\n  port: 8080\n", Lines::Kept("    "), Takes::Values),
    at("TOML", "[server]\n{n} = \"{S}\"\nport = 8080\n", N, Takes::Values),
    at("Python", "import os\n{N} = '{S}'\nrun({N})\n", N, Takes::Values),
    at("JavaScript", "const {n} = `{S}`;\nrun({n});\n", Lines::Kept(""), Takes::Values),
    at("Go", "\t{n} := \"{S}\"\n\trun({n})\n", N, Takes::Values),
    at("Rust", "    let {n} = \"{S}\";\n    run({n});\n", N, Takes::Values),
    at("log", "2026-11-20T14:02:11.123Z INFO pool {n}={S} took 12 ms\n", N, Takes::Values),
    at("URL", "GET https://api.example/v1?{n}={S}&page=2 200\n", N, Takes::UrlSafe),
    at("header", "POST /v1 HTTP/1.1\r\nX-Note: 1\r\n{n}: {S}\r\n\r\n", N, Takes::Values),
    at("CSV", "id,name,value\n17,{n},{S},2026-11-20\n", N, Takes::Bare),
    at("XML attribute", "<add key=\"{n}\" value=\"{S}\"/>\n", N, Takes::Bare),
    at("XML element", "<c><{n}>{S}</{n}></c>\n", Lines::Kept(""), Takes::Bare),
    at("Markdown", "Use `{S}` for now, and change it later.\n", Lines::Kept(""), Takes::Unnamed),
    at("diff", "@@ -1,2 +1,2 @@\n-{N}=\n+{N}={S}\n port\n", Lines::Kept("+"), Takes::Values),
    at(
        "numbered",
        "    11\t# server\n    12\t{S}\n    13\t\n",
        Lines::Kept("    {#}\t"),
        Takes::Unnamed,
    ),
    at("line", "see below\n{S}\nand above\n", Lines::Kept(""), Takes::Unnamed),
];

/// With something on either side that belongs to words elsewhere.
pub(super) const HARD: [Surroundings; 36] = [
    at("CJK before", "密钥{S} x", Lines::Kept(""), Takes::Bare),
    at("CJK behind", "x {S}です", Lines::Kept(""), Takes::Bare),
    at("CJK around", "密钥{S}，请保密", Lines::Kept(""), Takes::Bare),
    at("accent before", "clé{S} x", Lines::Kept(""), Takes::Bare),
    at("accent behind", "x {S}é", Lines::Kept(""), Takes::Bare),
    at("Cyrillic around", "ключ{S}или", Lines::Kept(""), Takes::Bare),
    at("\\n before", r"echo a\n{S}\nb", N, Takes::Bare),
    at("\\t before", r"echo a\t{S}\tb", N, Takes::Bare),
    at("\\r\\n before", r"echo a\r\n{S}\r\n", Lines::Spelt(r"\r\n"), Takes::Bare),
    at("\\\\n before", r"echo a\\n{S}\\nb", Lines::Spelt(r"\\n"), Takes::Bare),
    at("\\\\t before", r"echo a\\t{S}\\tb", Lines::Spelt(r"\\n"), Takes::Bare),
    at("ESC[32m", "\u{1b}[32m{S}\u{1b}[0m", Lines::Kept(""), Takes::Bare),
    at("ESC[1;38;5;9m", "\u{1b}[1;38;5;9m{S}\u{1b}[K", Lines::Kept(""), Takes::Bare),
    at("\\u001b[32m", r"echo \u001b[32m{S}\u001b[0m", N, Takes::Bare),
    at("\\x1b[0;32m", r"echo \x1b[0;32m{S}\x1b[0m", N, Takes::Bare),
    at("\\033[1m", r"echo \033[1m{S}\033[0m", N, Takes::Bare),
    at("%20 before", "q=a%20{S}%20b", N, Takes::Bare),
    at("%3D before", "q=a%3D{S}%26b", N, Takes::Bare),
    at("%0A before", "q=a%0A{S}%0Ab", N, Takes::Bare),
    at("%22 before", "q=%22{S}%22", N, Takes::Bare),
    at("\\u0022 before", r"a\u0022{S}\u0022", N, Takes::Bare),
    at("\\u003d before", r"a\u003d{S}\u0026", N, Takes::Bare),
    at("comma", "[a, {S}, b]", N, Takes::Bare),
    at("comma, glued", "a,{S},b", N, Takes::Bare),
    at("parenthesis", "run({S})", N, Takes::Bare),
    at("angle bracket", "<b>{S}</b>", N, Takes::Bare),
    at("bracket", "[{S}]", N, Takes::Bare),
    at("ampersand", "a={S}&b=1", N, Takes::Bare),
    at("pipe", "|a|{S}|b|", N, Takes::Bare),
    at("full stop", "It is {S}. Keep it.", N, Takes::Bare),
    at("semicolon", "a={S};b=1", N, Takes::Bare),
    at("backslash-quote", r#"say \"{S}\""#, N, Takes::Bare),
    at("backslash at the end", r"{S}\", N, Takes::Bare),
    at("colon", "a:{S}:b", N, Takes::Bare),
    at("CRLF", "a\r\n{S}\r\nb", Lines::Crlf, Takes::Bare),
    at("numbered with an arrow", "    12→{S}\n    13→b", Lines::Kept("    {#}→"), Takes::Bare),
];

/// Where a secret that ends in `-` is put.
pub(super) const DASHED: [Surroundings; 3] = [
    at("ends in -", "a={S} b", N, Takes::Bare),
    at("ends in -, quoted", "a=\"{S}\"", N, Takes::Bare),
    at("ends in -, at the end", "a={S}", N, Takes::Bare),
];

/// Where bots' tokens are usually put.
pub(super) const BOT: Surroundings =
    at("/bot", "https://api.telegram.org/bot{S}/getMe", N, Takes::Bare);

impl Surroundings {
    /// `secret`, told by `framing`, in these surroundings; `None` where it does not occur there.
    pub(super) fn around(
        &self,
        secret: &Secret,
        framing: Framing,
        random: &mut Random,
    ) -> Option<Secret> {
        let is_safe = |byte: u8| byte.is_ascii_alphanumeric() || b"._~:-".contains(&byte);
        let fits = match self.takes {
            Takes::Unnamed => !matches!(framing, Framing::Named(_)),
            Takes::Values => framing != Framing::Line,
            Takes::UrlSafe => framing != Framing::Line && secret.text().bytes().all(is_safe),
            Takes::Bare => framing == Framing::Bare,
        };
        if !fits {
            return None;
        }
        let name = match framing {
            Framing::Named(name) => name,
            // Nothing that a keyword would tell.
            Framing::Bare | Framing::Line => {
                random.pick(&["PRIMARY", "UPSTREAM", "LEFT", "SLOT_2"])
            }
        };
        let template = self.template.replace("{N}", name).replace("{n}", &name.to_lowercase());
        let (before, after) = template.split_once("{S}").expect("every template has its place");
        Some(secret.map(|part| self.lay_out(part)).within(before, after))
    }

    fn lay_out(&self, text: &str) -> String {
        match self.lines {
            Lines::Spelt(end) => text.replace('\n', end),
            Lines::Crlf => text.replace('\n', "\r\n"),
            Lines::Kept(start) => {
                let laid_out = text.split('\n').zip(12..).map(|(line, number)| match number {
                    12 => line.to_owned(),
                    _ => format!("\n{}{line}", start.replace("{#}", &number.to_string())),
                });
                laid_out.collect()
            }
        }
    }
}
